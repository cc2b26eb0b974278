# %% [markdown]
# # Attacks on text
#
# **What is an attack on a sentence made of, and when does it still mean the same?**
#
# An image is changed by a little of everything; a sentence only by whole characters and words. So there is no gradient
# step and no ball around the input. An attack on text has four parts instead: a *goal*, a *transformation* that
# proposes changes, *constraints* that refuse some of them, and a *search* that chooses. We take one apart, build its
# search by hand, and ask what its success rate means.

# %%
import os
from collections import Counter
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from robustlab import data, models, text
from robustlab.report import figure_style

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0
N = 200 if QUICK else 1000

# %% [markdown]
# ## Sentences, and a classifier to attack
#
# 10,568 sentences of film reviews, each rated by people as positive (1) or negative (0). The victim is a logistic
# regression on word counts: each word has a weight, and the sum decides.

# %%
train, test = (data.movie_sentences(split) for split in ("train", "test"))
tfidf = models.fit_tfidf(train.texts, train.labels)
victim = text.victim(tfidf, classes=train.classes, name="word counts")
right = victim.predict(test.texts).argmax(1) == test.labels
print(f"{len(train.texts)} sentences to train on; {right.mean():.1%} of {len(right)} others are classified right")
assert 0.75 < right.mean() < 0.85

# %%
texts, labels = test.texts[:N], test.labels[:N].tolist()
for sentence, label in list(zip(texts, labels, strict=True))[:4]:
    print(f"{train.classes[label]:9} {sentence}")

# %% [markdown]
# ## Words
#
# A sentence is cut once into words and the gaps between them. Every change keeps the rest exactly as it was.

# %%
words = text.cut(texts[1])
print(words.words)
print(words.replaced(0, "REPLACED").text)
print(words.deleted(1).text)
assert words.text == texts[1]

# %% [markdown]
# ## Goal, transformation, constraints, search
#
# - **Goal**: any wrong class. The score to raise is $1 - p(\text{label})$.
# - **Transformation**: typos. Two neighbouring characters change places, or one character is left out.
# - **Constraints**: each word is changed at most once, stop words ("the", "of") not at all, and the whole text within
#   30 single-character edits of the original.
# - **Search**: greedy. Words in order of importance; at each the best of its candidates.

# %%
recipe = text.recipe("typo-delete", resources=data.text_resource)
print(*recipe.transformations, *recipe.constraints, recipe.search.name, sep="\n")
print([*recipe.transformations[0].options("film"), *recipe.transformations[1].options("film")])

# %% [markdown]
# A recipe is a value. The attack returns one outcome for each sentence.

# %%
outcomes = text.attack(victim, texts, labels, recipe)
print(Counter(one.status for one in outcomes))
for one in [one for one in outcomes if one.status == "successful"][:3]:
    print(f"\n{one.original}\n{one.adversarial}\n{one.requested} queries, {one.changed} of {one.words} words changed")

# %% [markdown]
# ## The search by hand
#
# The importance of a word is the score of the sentence without it. Then, word by word, every candidate is scored, and
# the best is kept if it is better than what we have. We do the same for one sentence with nothing but `predict`.


# %%
def score(sentence, label):
    """1 - p(label), rounded as the library does it."""
    return round(1 - victim.predict([sentence])[0, label], victim.decimals)


def candidates(now, position):
    """Sentences with one typo in a word."""
    found = [new for part in recipe.transformations for new in part.options(now.words[position])]
    return [now.replaced(position, new) for new in dict.fromkeys(found) if new != now.words[position]]


# %%
number = next(n for n, one in enumerate(outcomes) if one.status == "successful" and one.changed > 2)
now, label = text.cut(texts[number]), labels[number]
stop = text.stop_words()
places = [place for place, word in enumerate(now.words) if word not in stop]
importance = {place: score(now.deleted(place).text, label) for place in places}
for place in sorted(places, key=lambda at: (-importance[at], at)):
    best = min(candidates(now, place), key=lambda one: (-score(one.text, label), one.text), default=now)
    now = best if score(best.text, label) > score(now.text, label) else now
    if victim.predict([now.text])[0].argmax() != label:
        break
print(now.text)
assert now.text == outcomes[number].adversarial

# %% [markdown]
# The same sentence, to the character. All that the library adds is order: it scores the candidates of many sentences
# at once and never scores the same text twice.
#
# ## What a typo measures
#
# A model that counts words does not know "flim". A typo removes a word from its sight, so typos ask how few words the
# model depends on. Synonyms are known words: they ask something else.


# %%
def rate(found):
    """Success rate among the sentences that were attacked, and among all (with those wrong from the start)."""
    counts = Counter(one.status for one in found)
    attacked = counts["successful"] + counts["failed"]
    return counts["successful"] / attacked, (counts["successful"] + counts["skipped"]) / len(found)


synonyms = text.recipe("wordnet-delete", resources=data.text_resource)
found = {"typos": outcomes, "synonyms": text.attack(victim, texts, labels, synonyms)}
known = set(tfidf.words)
for name, some in found.items():
    new = [word.lower() for one in some for _, word in one.edits]
    print(f"{name:9} new words that the victim knows: {np.mean([word in known for word in new]):.0%}")

# %%
known_words = {
    name: np.mean([word.lower() in known for one in some for _, word in one.edits]) for name, some in found.items()
}
assert known_words["typos"] < 0.35
assert known_words["synonyms"] > known_words["typos"] + 0.1

# %% [markdown]
# ## Two success rates
#
# Papers count in two ways. One leaves out the sentences that were wrong before any attack; the other counts them as
# successes. Both are shown, and neither can be compared with the other.

# %%
# alt: Success rates of typos and synonyms, each in two ways of counting; the second is a little higher.
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
rates = {name: rate(some) for name, some in found.items()}
for place, kind in enumerate(("of the attacked", "of all, wrong ones included")):
    axis.bar(np.arange(2) + 0.4 * place, [rates[name][place] for name in rates], 0.38, label=kind)
axis.set(xticks=np.arange(2) + 0.2, xticklabels=list(rates), ylabel="success rate", ylim=(0, 1.15))
axis.legend(ncols=2, fontsize="small")
plt.show()

# %%
print({name: tuple(round(value, 3) for value in pair) for name, pair in rates.items()})
assert all(second > first for first, second in rates.values())
assert min(first for first, _ in rates.values()) > 0.6

# %% [markdown]
# ## The order of the words
#
# Searches can be compared only if everything else is equal. Same transformation, same constraints, same goal: we change
# nothing but the order in which the greedy search takes the words.

# %%
orders = {}
for ranking in ("delete", "random"):
    search = replace(synonyms, name=f"synonyms, {ranking} order", search=text.Greedy(ranking))
    orders[ranking] = text.attack(victim, texts, labels, search, settings=text.AttackSettings(seed=SEED))

# %%
both = [pair for pair in zip(*orders.values(), strict=True) if all(one.status == "successful" for one in pair)]
for name, some in orders.items():
    queries = np.mean([one.requested for one in some if one.status != "skipped"])
    print(f"{name:7} success rate {rate(some)[0]:.1%}, {queries:.0f} queries")
more = np.array([second.changed - first.changed for first, second in both])
print(f"a random order changes {more.mean():.1f} words more on the {len(both)} sentences where both succeed")

# %%
assert abs(rate(orders["random"])[0] - rate(orders["delete"])[0]) < 0.1
assert more.mean() > 3 * more.std(ddof=1) / len(more) ** 0.5

# %% [markdown]
# Nearly the same success, with more words changed. A success rate alone does not say how good a search is; the changed
# words do.
#
# ## The meaning of the successes
#
# The label is the judgement of people on the *original*. A success counts only if they would judge the new sentence the
# same, and they have not read it. We can at least count the successes in which a clearly positive word became a clearly
# negative one, or the reverse, by the ratings of VADER.

# %%
opinions = text.opinion_words_in(data.text_resource("vader"))


def turned(outcome):
    """Opinion words of the original that became words of the other sign."""
    old = text.cut(outcome.original).words
    return [(old[at], new) for at, new in outcome.edits if opinions.turned(old[at], new)]


successes = [one for one in found["synonyms"] if one.status == "successful"]
wrong = [one for one in successes if turned(one)]
print(f"{len(wrong)} of {len(successes)} successes turn an opinion word")
for one in (wrong + successes)[:4]:
    print(f"\n{one.original}\n{one.adversarial}\n{turned(one) or 'no opinion word turned'}")

# %% [markdown]
# Read them. Some new sentences are no English, some say something else, and a few are what the attack promises. A
# dictionary does not know which of its senses is meant. The number that a program counts is only a lower bound of
# what a reader would refuse; `robustlab text export` writes pairs of sentences for people to judge.
#
# ## A defence against typos
#
# If typos work because the victim does not know the words, a spelling corrector in front of it should help. It puts the
# nearest known word in place of an unknown one.

# %%
speller = text.Speller.of(train.texts)
defended = text.victim(speller.before(victim.predict), classes=train.classes, name="corrected")
print(speller("an intelligent flim wiht a great story"))
again = defended.predict([str(one.adversarial) for one in outcomes]).argmax(1)
before = np.array([one.prediction for one in outcomes])
print(f"right on the same typos: {np.mean(before == labels):.1%} before, {np.mean(again == labels):.1%} corrected")

# %% [markdown]
# But these typos were made for the victim *without* the corrector. An honest test attacks what is really used.

# %%
adaptive = text.attack(defended, texts, labels, recipe)
clean = np.mean([one.status != "skipped" for one in adaptive])
both = {"plain": outcomes, "corrected": adaptive}
robust = {name: np.mean([one.status == "failed" for one in some]) for name, some in both.items()}
print(f"accuracy of the corrected victim: {clean:.1%} clean, {robust['corrected']:.1%} under its own attack")
print(f"accuracy of the plain victim under its own attack: {robust['plain']:.1%}")
assert np.mean(again == labels) > robust["corrected"] > robust["plain"]

# %% [markdown]
# The corrector helps, and far less than the test with old typos suggested: the new attack finds typos that are
# corrected to other words.

# %% [markdown]
# ## What we saw
#
# - An attack on text is a goal, a transformation, constraints and a search, each a part that can be exchanged.
# - Greedy search is a dozen lines; ours by hand gave the same sentence.
# - Typos ask whether a model knows the words, synonyms whether it understands them.
# - There are two success rates, and searches can be compared only under equal constraints.
# - Whether a success is one depends on its meaning, which no program knows.
# - A defence is tested by attacking it.

# %% [markdown]
# ## Exercises
#
# 1. Forbid changes of opinion words by sign with `text.KeepOpinion(opinions)` as a further constraint. Does the
#    success rate fall?

# %% tags=["solution"]
strict = replace(synonyms, constraints=(*synonyms.constraints, text.KeepOpinion(opinions)))
kept = text.attack(victim, texts, labels, strict)
print(f"{rate(found['synonyms'])[0]:.1%} without the constraint, {rate(kept)[0]:.1%} with it")
assert not any(turned(one) for one in kept)

# %% [markdown]
# 2. Reduce sentences instead: take words away as long as the prediction stays (`text.recipe("input-reduction")`). What
#    is left of a sentence, and would you still say the same of it?

# %% tags=["solution"]
shorter = text.attack(victim, texts[:50], labels[:50], text.recipe("input-reduction", resources=data.text_resource))
for one in [one for one in shorter if one.status == "successful"][:5]:
    print(f"{one.original}\n    -> {one.adversarial}")
left = np.mean([len(text.cut(one.adversarial).words) / one.words for one in shorter if one.status == "successful"])
assert left < 0.6

# %% [markdown]
# 3. Give the attacker at most 20 queries for each sentence (`text.AttackSettings(queries=20)`). Which order of the
#    words is better then?

# %% tags=["solution"]
few = text.AttackSettings(queries=20, seed=SEED)
for ranking in ("delete", "random"):
    search = replace(synonyms, search=text.Greedy(ranking))
    print(f"{ranking:7} {rate(text.attack(victim, texts, labels, search, settings=few))[0]:.1%}")
