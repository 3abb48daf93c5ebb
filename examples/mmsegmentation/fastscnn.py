default_scope = "mmseg"
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", size=(120, 160), seg_pad_val=255),
    backbone=dict(type="FastSCNN"),
    decode_head=dict(type="DepthwiseSeparableFCNHead", in_channels=128, channels=128, num_classes=11),
    test_cfg=dict(mode="whole"),
)
data = dict(type="BaseSegDataset", img_suffix=".png", metainfo=dict(classes=[*"abcdefghijk"]))
read, pack = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")], [dict(type="PackSegInputs")]
train_set = dict(pipeline=[*read, dict(type="RandomFlip", prob=0.5), *pack], **data)
train_dataloader = dict(batch_size=4, sampler=dict(type="InfiniteSampler"), dataset=train_set)
test_dataloader = dict(sampler=dict(type="DefaultSampler"), dataset=dict(pipeline=[*read, *pack], **data))
test_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
train_cfg, test_cfg = dict(type="IterBasedTrainLoop", max_iters=60), dict(type="TestLoop")
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=4e-5))
default_hooks = dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=30))
