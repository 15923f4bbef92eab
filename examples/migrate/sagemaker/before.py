from sagemaker.pytorch import PyTorch

estimator = PyTorch(
    base_job_name="digits-sagemaker",
    role="arn:aws:iam::123456789012:role/training",
    framework_version="2.6",
    py_version="py312",
    instance_type="ml.c5.xlarge",
    instance_count=2,
    source_dir="s3://code/digits.tar.gz",
    entry_point="train.py",
    hyperparameters={"epochs": 5, "batch-size": 64, "lr": 0.01},
    metric_definitions=[
        {"Name": "epoch", "Regex": "epoch=([0-9]+)"},
        {"Name": "loss", "Regex": "train_loss=(.*?);"},
    ],
    checkpoint_s3_uri="s3://checkpoints/digits-sagemaker/",
    output_path="s3://models/digits-sagemaker/",
    max_run=3600,
)
estimator.fit({"training": "s3://datasets/digits/"})
