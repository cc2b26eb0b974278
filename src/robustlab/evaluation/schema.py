"""Tables of ``outcomes.sqlite``; one transaction per batch, so that what is there is always whole batches.

The conditions and lists of columns that queries are put together from are here too.
"""

SCHEMA = """
CREATE TABLE IF NOT EXISTS examples (  -- one row per example: the model on the clean input
  id INTEGER PRIMARY KEY,              -- number in the data set
  label INTEGER NOT NULL,
  prediction INTEGER NOT NULL,         -- -1: logits not finite
  confidence REAL,                     -- softmax probability of the prediction; NULL: not finite
  correct INTEGER NOT NULL,
  digest BLOB NOT NULL,                -- of input and label
  batch INTEGER                        -- number of the batch; NULL: an older version wrote this
);
CREATE TABLE IF NOT EXISTS outcomes (  -- one row per example, attack, eps, stage and restart
  attack INTEGER NOT NULL,             -- position in the manifest's attacks
  eps REAL NOT NULL,
  kind TEXT NOT NULL,                  -- run: attacked; reused: fooled at a smaller eps; recheck: reused, yet attacked
  stage INTEGER NOT NULL,              -- 0 unless the attack has stages
  restart INTEGER NOT NULL,            -- 0 unless restarts are recorded one by one
  id INTEGER NOT NULL,
  fooled INTEGER NOT NULL,
  prediction INTEGER NOT NULL,         -- of the user's own model at x_adv; -1: logits not finite
  confidence REAL,
  target INTEGER,                      -- NULL: not targeted
  inside INTEGER NOT NULL,             -- x_adv keeps budget and bounds exactly
  linf REAL, l2 REAL, l1 REAL,         -- sizes of x_adv - x
  batch INTEGER NOT NULL,              -- number of the batch in its pass
  PRIMARY KEY (attack, eps, kind, stage, restart, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (   -- one row per committed batch
  attack INTEGER NOT NULL,             -- -1: the pass over clean inputs
  eps REAL NOT NULL,
  kind TEXT NOT NULL,                  -- clean, run or recheck
  stage INTEGER NOT NULL,
  restart INTEGER NOT NULL,
  batch INTEGER NOT NULL,
  n INTEGER NOT NULL,
  forward INTEGER NOT NULL,            -- passes of single examples
  backward INTEGER NOT NULL,
  file TEXT,                           -- relative to the run directory; NULL: nothing kept
  digest BLOB,                         -- of the file
  seconds REAL NOT NULL,
  content BLOB,                        -- digest of this line and of its rows; NULL: an older version wrote this
  PRIMARY KEY (attack, eps, kind, stage, restart, batch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS texts (     -- one row per example and recipe of a run on texts
  attack INTEGER NOT NULL,             -- position in the manifest's recipes
  id INTEGER NOT NULL,
  status TEXT NOT NULL,                -- skipped, successful or failed
  label INTEGER NOT NULL,
  target INTEGER,                      -- NULL: not targeted
  before INTEGER NOT NULL,             -- prediction on the clean text
  prediction INTEGER NOT NULL,         -- on the adversarial text
  confidence REAL,
  score REAL,                          -- of the goal
  requested INTEGER NOT NULL,              -- texts that the search wanted scored
  sent INTEGER NOT NULL,               -- different ones among them
  changed INTEGER NOT NULL,            -- words
  words INTEGER NOT NULL,              -- of the original
  original TEXT NOT NULL,              -- JSON: a text, or a list of fields
  adversarial TEXT NOT NULL,
  edits TEXT NOT NULL,                 -- JSON: position in the original and new word of each edit
  batch INTEGER NOT NULL,              -- number of the batch in its pass
  PRIMARY KEY (attack, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audits (    -- one row per successful attack of a run on texts whose meaning was measured
  attack INTEGER NOT NULL,
  id INTEGER NOT NULL,
  turned INTEGER,                      -- 1: an opinion word's sign is turned; NULL: not measured
  similarity REAL,                     -- of adversarial and clean text; NULL: not measured
  PRIMARY KEY (attack, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (     -- one row per committed batch of a run on texts
  attack INTEGER NOT NULL,
  batch INTEGER NOT NULL,
  texts INTEGER NOT NULL,              -- that the victim scored; repeats came from memory
  victim REAL NOT NULL,                -- seconds in the victim
  services REAL NOT NULL,              -- seconds in other models
  PRIMARY KEY (attack, batch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (     -- one row per example that comes from a file
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL                   -- path in the data set
);
CREATE TABLE IF NOT EXISTS run (       -- one row: which run all of this belongs to
  id TEXT PRIMARY KEY                  -- as in the manifest
);
CREATE TABLE IF NOT EXISTS sessions (  -- one row per process that worked on the run
  session INTEGER PRIMARY KEY,
  started TEXT NOT NULL,               -- ISO 8601, UTC
  seconds REAL NOT NULL
);
"""

ADDED = (("examples", "batch", "INTEGER"), ("batches", "content", "BLOB"))
"""Columns that older versions did not have: table, name, type."""
KEY = "attack = ? AND eps = ? AND kind = ? AND stage = ? AND restart = ?"
"""The condition that rows and batches belong to a ``Phase``."""
PLACE = "attack, eps, kind, stage, restart"
"""The columns of a ``Phase``."""
BATCH_HEAD = "n, forward, backward, file, digest, seconds"
"""Columns of the line of a batch that its digest covers."""
CLEAN_CONTENT = "id, label, prediction, confidence, correct, digest"
"""Columns of its rows that the digest of a clean batch covers."""
OUTCOME_CONTENT = "id, fooled, prediction, confidence, target, inside, linf, l2, l1"
"""Columns of its rows that the digest of an attack batch covers."""
TEXT_CONTENT = (
    "id, status, label, target, before, prediction, confidence, score, requested, sent, changed, words, original, "
    "adversarial, edits"
)
"""Columns of its rows that the digest of a batch of attacks on texts covers."""
ON_TEXTS = "text"
"""Kind of a pass over texts; its rows are in ``texts``, and neither eps, stage nor restart."""
TEXT_PLACE = f"attack, 0.0, '{ON_TEXTS}', 0, 0"
"""The ``Phase`` of rows in ``texts``."""
TEXT_KEY = f"attack = ? AND (?, ?, ?, ?) = (0.0, '{ON_TEXTS}', 0, 0)"
"""The condition that rows of ``texts`` belong to a ``Phase``."""
COUNTED = "kind IN ('run', 'reused')"
"""The rows that an accuracy is counted from; a recheck only checks."""
_RANK = "(4 * (fooled AND target IS prediction) + 2 * fooled) * 1000000 + stage * 1000 + restart"


def finished(*, targeted: bool) -> str:
    """Condition of an outcome that no later stage can improve."""
    return "fooled = 1 AND target IS prediction" if targeted else "fooled = 1"


def outcomes(condition: str = COUNTED) -> str:
    """The query for the outcome of each example in one attack at one eps; takes their values as parameters.

    Of an example's rows in several stages and restarts, the one that counts is a finished one, else one that fooled,
    else the last. Sqlite takes the other columns from the row where the maximum is.
    """
    return (
        "SELECT id, kind, fooled, prediction, confidence, target, inside, linf, l2, l1, stage, restart, batch, "
        f"max({_RANK}) FROM outcomes WHERE attack = ? AND eps = ? AND {condition} GROUP BY id"
    )
