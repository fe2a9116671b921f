"""S³D-NeRF: one portrait and a speech recording to a talking-head video. The library: no prefect, dvc or mlflow
here.
"""
