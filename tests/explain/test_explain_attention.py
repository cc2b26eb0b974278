"""Maps of vision transformers: rollout by hand, tokens of several layouts, models of three libraries, sentences."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import _get_current_function_mode_stack

from robustlab.explain import AttentionRollout, TokenGradCAM, explain
from robustlab.models import adapted


def vit(**options: Any) -> Any:  # noqa: ANN401
    torch.manual_seed(0)
    settings: dict[str, Any] = {"num_classes": 3, "depth": 2, "embed_dim": 24, "num_heads": 3} | options
    net = timm.create_model("vit_tiny_patch16_224", img_size=(32, 48), **settings).double().eval()
    for parameter in net.parameters():  # random weights of timm attend evenly
        parameter.data.mul_(4)
    return net


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def by_hand(net: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
    """Rollout (N, T, T) of a ViT of timm, the tokens that go into its last attention, and the logits from these."""
    tokens, total = net.norm_pre(net._pos_embed(net.patch_embed(x))), None
    for block in net.blocks:
        inside = block.norm1(tokens)
        if block is net.blocks[-1]:
            inside = inside.detach().requires_grad_()
        n, t, _ = inside.shape
        q, k, v = block.attn.qkv(inside).reshape(n, t, 3, net.blocks[0].attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).exp()
        attention = attention / attention.sum(3, keepdim=True)
        mixed = 0.5 * (attention.mean(1) + torch.eye(t, dtype=x.dtype))
        total = mixed if total is None else mixed @ total
        tokens = tokens + block.attn.proj((attention @ v).transpose(1, 2).reshape(n, t, -1))
        tokens = tokens + block.mlp(block.norm2(tokens))
    assert total is not None
    return total.detach(), inside, net.forward_head(net.norm(tokens))


LAYOUTS = [
    ({}, 1),
    ({"global_pool": "avg"}, 1),
    ({"global_pool": "avg", "class_token": False}, 0),
    ({"reg_tokens": 2}, 3),
    ({"reg_tokens": 4, "global_pool": "avg"}, 5),
    ({"global_pool": "avg", "pool_include_prefix": True}, 1),
]  # fmt: skip


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("options", "prefix"), LAYOUTS, ids=str)
def test_rollout_is_that_written_out(options: dict[str, Any], prefix: int, fused: bool) -> None:
    net, x = vit(**options), images()
    for block in net.blocks:
        block.attn.fused_attn = fused
    total, _, logits = by_hand(net, x)
    assert torch.allclose(logits, net(x))
    averaged = prefix if options.get("global_pool") == "avg" and "pool_include_prefix" not in options else 0
    rows = total[:, averaged:].mean(1) if "global_pool" in options else total[:, 0]
    expected = F.interpolate(rows[:, None, prefix:].reshape(-1, 1, 2, 3), (32, 48), mode="bilinear")[:, 0]
    maps = explain(AttentionRollout(), net, x)
    assert torch.allclose(maps.per_pixel, expected, atol=1e-13)
    assert maps.per_pixel.amin() > 0
    assert expected.std() > 1e-3 * expected.mean()
    assert all(block.attn.fused_attn is fused for block in net.blocks)


@pytest.mark.parametrize(("options", "prefix"), LAYOUTS, ids=str)
def test_grad_cam_on_tokens_is_that_written_out(options: dict[str, Any], prefix: int) -> None:
    net, x, target = vit(**options), images(), torch.tensor([2, 0, 1])
    _, inside, logits = by_hand(net, x)
    (grad,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), inside)
    cam = torch.einsum("nd,ntd->nt", grad[:, prefix:].mean(1), inside.detach()[:, prefix:]).relu().reshape(-1, 1, 2, 3)
    expected = F.interpolate(cam, (32, 48), mode="bilinear")[:, 0]
    for layer in ("", "blocks.1.norm1"):
        maps = explain(TokenGradCAM(layer), net, x, target)
        assert torch.allclose(maps.per_pixel, expected, atol=1e-12)
    assert expected.amax() > 0


def test_rollout_of_one_layer_without_shortcut_is_its_attention() -> None:
    """Fused attention over values that are the unit vectors returns its probabilities."""
    net, x = vit(depth=1), images(1)
    attn = net.blocks[0].attn
    q, k, _ = (
        attn.qkv(net.blocks[0].norm1(net._pos_embed(net.patch_embed(x)))).reshape(1, 7, 3, 3, 8).permute(2, 0, 3, 1, 4)
    )
    unit = torch.eye(7, dtype=x.dtype).expand(1, 3, -1, -1)
    expected = F.scaled_dot_product_attention(q, k, unit).mean(1)[:, 0, 1:].reshape(1, 1, 2, 3)
    found = explain(AttentionRollout(1.0), net, x).per_pixel
    assert torch.allclose(found, F.interpolate(expected, (32, 48), mode="bilinear")[:, 0])


@pytest.mark.slow
def test_models_of_other_libraries() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "intermediate_size": 32,
        "num_labels": 3,
    }
    config = transformers.ViTConfig(image_size=32, patch_size=8, **sizes)
    registers = transformers.Dinov2WithRegistersConfig(image_size=32, patch_size=8, num_register_tokens=3, **sizes)
    x = torch.rand(2, 3, 32, 32)
    for implementation in ("sdpa", "eager"):
        for kind, settings in (
            (transformers.ViTForImageClassification, config),
            (transformers.Dinov2WithRegistersForImageClassification, registers),
        ):
            settings._attn_implementation = implementation
            net = adapted(kind(settings).eval())
            _check_against_outputs(net, x)


def test_multi_head_attention_of_torch() -> None:
    torch.manual_seed(0)
    net = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3).eval()
    torch.nn.init.normal_(net.heads.head.weight)
    x, total = torch.rand(2, 3, 32, 32), torch.eye(17)
    with torch.no_grad():
        tokens = torch.cat([net.class_token.expand(2, -1, -1), net._process_input(x)], 1) + net.encoder.pos_embedding
        for block in net.encoder.layers:
            inside = block.ln_1(tokens)
            total = (block.self_attention(inside, inside, inside)[1] + torch.eye(17)) / 2 @ total
            tokens = block(tokens)
    expected = F.interpolate(total[:, 0, 1:].reshape(-1, 1, 4, 4), (32, 32), mode="bilinear")[:, 0]
    assert torch.allclose(explain(AttentionRollout(), net, x).per_pixel, expected, atol=1e-6)
    maps = [explain(TokenGradCAM(), net, x, torch.tensor([k, k])).values for k in range(3)]
    assert any(bool(values.amax() > 0) for values in maps)


def _check_against_outputs(net: Any, x: Tensor) -> None:  # noqa: ANN401
    """Rollout of a model of Hugging Face from the attention that the model itself returns, when not fused."""
    inner = next(part for part in net.modules() if hasattr(part, "set_attn_implementation"))
    maps = explain(AttentionRollout(), net, x)
    used = inner.config._attn_implementation
    inner.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = inner(x, output_attentions=True).attentions
    inner.set_attn_implementation(used)
    total = torch.eye(attentions[0].shape[-1])
    for attention in attentions:
        total = (attention.mean(1) + torch.eye(attention.shape[-1])) / 2 @ total
    pooled = total[:, 0] if "Dinov2" not in type(inner).__name__ else total[:, [0, *range(4, 20)]].mean(1)
    expected = F.interpolate(pooled[:, -16:].reshape(-1, 1, 4, 4), (32, 32), mode="bilinear")[:, 0]
    assert torch.allclose(maps.per_pixel, expected, atol=1e-6)
    assert explain(TokenGradCAM(), net, x).values.isfinite().all()


def test_nothing_of_the_model_changes() -> None:
    net, x = vit(drop_rate=0.1, attn_drop_rate=0.2).train(), images()
    state, hooks = torch.get_rng_state(), [list(part._forward_hooks) for part in net.modules()]
    before = [p.clone() for p in net.parameters()]
    for method in (AttentionRollout(), TokenGradCAM()):
        explain(method, net, x, torch.tensor([0, 1, 2]))
    assert torch.equal(state, torch.get_rng_state())
    assert hooks == [list(part._forward_hooks) for part in net.modules()]
    assert all(part.training for part in net.modules())
    assert all(
        torch.equal(p, q) and p.grad is None and p.requires_grad for p, q in zip(net.parameters(), before, strict=True)
    )
    assert not _get_current_function_mode_stack()


def test_sentences() -> None:
    x = images()
    cnn = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).double()
    with pytest.raises(
        ValueError, match="attention rollout is for transformers, and the model has no attention: Grad-CAM"
    ):
        explain(AttentionRollout(), cnn.eval(), x)
    with pytest.raises(ValueError, match="Grad-CAM on tokens explains images"):
        explain(TokenGradCAM(), nn.Linear(4, 3), torch.rand(2, 4))
    with pytest.raises(ValueError, match=r"needs a layer with output \(N, 7, D\), and 'head' returns \(3, 3\)"):
        explain(TokenGradCAM("head"), vit(), x)
    with pytest.raises(ValueError, match=r"no layer 'blocks\.1\.norm_1'; did you mean blocks\.1\.norm1"):
        explain(TokenGradCAM("blocks.1.norm_1"), vit(), x)
    with pytest.raises(ValueError, match=r"share must be above 0, at most 1, got 0\.0"):
        AttentionRollout(0.0)
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=3, img_size=32, window_size=4, embed_dim=12, depths=(1, 1),
        num_heads=(1, 1),
    )  # fmt: skip
    with pytest.raises(ValueError, match="needs a token for each patch of the image, and the model attends among 16"):
        explain(AttentionRollout(), swin.eval(), torch.rand(2, 3, 32, 32))
    pyramid = timm.create_model("pvt_v2_b0", num_classes=3, embed_dims=(8, 8, 8, 8), num_heads=(1, 1, 1, 1))
    for net, size in ((pyramid, 224), (timm.create_model("cait_xxs24_224", num_classes=3, img_size=64, depth=1), 64)):
        with pytest.raises(ValueError, match="needs attention among the same tokens in each layer"):
            explain(AttentionRollout(), net.eval(), torch.rand(2, 3, size, size))
