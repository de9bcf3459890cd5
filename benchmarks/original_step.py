"""Times the Python original on the work of `clipself bench step|dense|crops`: random weights, the same shapes.

    git clone https://github.com/wusize/CLIPSelf
    pip install torch timm==0.9.16 einops ftfy regex tqdm huggingface_hub
    python benchmarks/original_step.py CLIPSelf step --precision fp32 --image-size 1024 --crops 16

What is timed is the original's own model and method. torchvision has no build for a CPU torch, so where it is missing its
roi_align is replaced by the same sampling in torch; where xformers is missing, scaled_dot_product_attention does its work
(`--attention plain`: the original's own products and softmax). `--precision bf16` is autocast on the device; the original itself
asks for CUDA's autocast, which on a CPU changes nothing.
"""
import argparse
import json
import math
import resource
import sys
import time
import types

import torch
import torch.nn.functional as F


def roi_align(features, boxes, output_size, spatial_scale=1.0, sampling_ratio=-1, aligned=True):
    """(1, 1) bins with adaptive sampling, as the original calls it."""
    assert tuple(output_size) == (1, 1) and sampling_ratio == -1 and aligned
    height, width = features.shape[-2:]
    pooled = []
    for image, image_boxes in zip(features, boxes):
        for x0, y0, x1, y1 in (image_boxes.float() * spatial_scale - 0.5).tolist():
            rows, columns = max(1, math.ceil(y1 - y0)), max(1, math.ceil(x1 - x0))
            y = y0 + (torch.arange(rows) + 0.5) * (y1 - y0) / rows
            x = x0 + (torch.arange(columns) + 0.5) * (x1 - x0) / columns
            grid = torch.stack(torch.meshgrid(x * 2 / (width - 1) - 1, y * 2 / (height - 1) - 1, indexing="xy"), -1)
            grid = grid.to(image.device, image.dtype)
            pooled.append(F.grid_sample(image[None], grid[None], padding_mode="border", align_corners=True).mean((2, 3)))
    return torch.cat(pooled)[:, :, None, None]


def stand_in_for_torchvision():
    try:
        import torchvision.ops  # noqa: F401
        return
    except Exception:  # missing, or built for another torch
        pass
    for name in [n for n in sys.modules if n.startswith("torchvision")]:
        del sys.modules[name]

    class Constants(type):
        def __getattr__(cls, name):
            if name.startswith("_"):
                raise AttributeError(name)
            return name

    class Anything(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return Constants(name, (torch.nn.Module,), {})

    for name in ("", ".ops", ".ops.misc", ".transforms", ".transforms.functional", ".datasets"):
        module = sys.modules["torchvision" + name] = Anything("torchvision" + name)
        module.__path__ = []
        parent, _, own = ("torchvision" + name).rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, module)
    sys.modules["torchvision.ops"].roi_align = roi_align


def stand_in_for_xformers():
    try:
        import xformers.ops  # noqa: F401
        return
    except Exception:
        pass

    def memory_efficient_attention(q, k, v, p=0.0, scale=None, attn_bias=None):
        out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_bias, p,
                                             scale=scale)
        return out.transpose(1, 2)

    package = sys.modules["xformers"] = types.ModuleType("xformers")
    package.ops = sys.modules["xformers.ops"] = types.ModuleType("xformers.ops")
    package.ops.memory_efficient_attention = memory_efficient_attention


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", help="a clone of wusize/CLIPSelf")
    parser.add_argument("what", choices=["step", "dense", "crops"])
    parser.add_argument("--model", default="EVA02-CLIP-B-16")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--attention", choices=["fused", "plain"], default="fused")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--image-size", type=int, default=1024)
    parser.add_argument("--crops", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    stand_in_for_torchvision()
    stand_in_for_xformers()
    sys.path.insert(0, args.repository + "/src")
    from open_clip.eva_clip import create_model
    from training.clipself import CLIPSelf

    device = torch.device(args.device)
    torch.manual_seed(0)

    def make_model():
        model = create_model(args.model, device=device, force_custom_clip=True)
        for block in model.visual.blocks:
            block.attn.xattn = args.attention == "fused"
        return model

    student = make_model()
    native = student.visual.image_size
    native = native[0] if isinstance(native, (tuple, list)) else native
    images = torch.randn(args.batch_size, 3, args.image_size, args.image_size, device=device)
    crops = torch.randn(args.batch_size, args.crops, 3, native, native, device=device)

    def autocast():
        return torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16")

    if args.what == "step":
        teacher = make_model().eval().requires_grad_(False)
        student.train()
        student.lock_image_tower(unlocked_groups=12 if "B-16" in args.model else 24)
        student.set_grad_checkpointing(False)
        optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-5, weight_decay=0.1)
        columns = max(1, round(math.sqrt(args.crops)))
        boxes = torch.tensor([[(i % columns) / columns, (i // columns % columns) / columns, (i % columns + 1) / columns,
                               (i // columns % columns + 1) / columns, 1] for i in range(args.crops)], device=device)
        boxes = boxes.expand(args.batch_size, -1, -1)
        flags = types.SimpleNamespace(multiscale=False, extract_type="v2", cosine_weight=1.0)

        def work():
            optimizer.zero_grad()
            with autocast():
                losses, _, _ = CLIPSelf()((images, boxes, crops), student, teacher, None, device, None, False, flags)
            sum(losses.values()).backward()
            optimizer.step()
    else:
        student.eval()

        def work():
            with torch.no_grad(), autocast():
                if args.what == "dense":
                    student.encode_dense(images, keep_shape=True)
                else:
                    student.encode_image(crops.flatten(0, 1))

    def timed():
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    timed()
    seconds = sorted(timed() for _ in range(args.steps))
    print(json.dumps({
        "bench": args.what, "model": args.model, "precision": args.precision,
        "attention": args.attention, "torch": torch.__version__,
        "threads": torch.get_num_threads(), "batch_size": args.batch_size, "image_size": args.image_size,
        "crops": args.crops, "seconds": seconds[len(seconds) // 2], "seconds_fastest": seconds[0],
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


main()
