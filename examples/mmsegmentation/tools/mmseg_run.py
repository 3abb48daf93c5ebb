"""mmsegmentation's runner: train|test CONFIG IMAGES LABELS OUT, then the seed or the checkpoint."""

import os
import sys
from unittest.mock import MagicMock

import mmcv

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # its checkpoints hold objects of its own classes
mmcv.__version__ = "2.1.0"  # the newest that mmsegmentation 1.2.2 accepts
sys.modules["mmcv.ops"] = MagicMock()  # mmcv-lite has no compiled operators; Fast-SCNN needs none
from mmengine.config import Config  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

mode, config, images, labels, out, last = sys.argv[1:]
cfg = Config.fromfile(config)
cfg.work_dir = out
cfg[f"{mode}_dataloader"].dataset.data_prefix = dict(img_path=images, seg_map_path=labels)
if mode == "train":
    cfg.update(resume=True, randomness=dict(seed=int(last), deterministic=True))
else:
    cfg.load_from, cfg.test_evaluator.output_dir = last, out
getattr(Runner.from_cfg(cfg), mode)()
