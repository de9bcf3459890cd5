"""Times pycocotools on what `clipself bench ap --folder FOLDER` wrote, and prints its numbers beside.

    clipself bench ap --folder FOLDER --json
    python benchmarks/ap_pycocotools.py FOLDER [bbox|segm] [RUNS]
"""
import contextlib
import io
import json
import sys
import time

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

KEYS = "AP AP50 AP75 APs APm APl AR@1 AR@10 AR@100 ARs ARm ARl".split()


def run(folder, iou_type):
    start = time.perf_counter()
    truth = COCO(f"{folder}/gt.json")
    results = truth.loadRes(f"{folder}/results.json")
    read = time.perf_counter()
    evaluation = COCOeval(truth, results, iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return read - start, time.perf_counter() - read, evaluation.stats


folder, iou_type, runs = sys.argv[1], (sys.argv[2:] or ["bbox"])[0], int((sys.argv[3:] or ["1"])[0])
with contextlib.redirect_stdout(io.StringIO()):
    timed = [run(folder, iou_type) for _ in range(runs)]
print(json.dumps({
    "read_seconds_fastest": min(t[0] for t in timed),
    "evaluate_seconds_fastest": min(t[1] for t in timed),
    **dict(zip(KEYS, map(float, timed[0][2]))),
}, indent=2))
