# A CPU image that makes talking-head videos, offline once it is built: the package with its page, and the speech
# features' weights. No pipeline, no data: `make demo` is for a clone.
#
#   docker build -t s3dnerf .
#   docker run --rm --network none -v "$PWD:/videos" s3dnerf synthesize --portrait me.jpg --speech hello.wav --out hello.mp4
#   docker run --rm -p 127.0.0.1:7860:7860 s3dnerf serve --host 0.0.0.0
#
# The build of PyTorch on PyPI for Linux brings 3.5 GB of CUDA libraries. With the address of PyTorch's own index of CPU
# builds the image is without them: docker build --build-arg PIP_EXTRA_INDEX_URL=ADDRESS -t s3dnerf .
# docs/how-to/install.md says what of this file was tried.
FROM python:3.12-slim-bookworm

ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1

WORKDIR /opt/s3dnerf
COPY requirements.lock requirements-extras.lock pyproject.toml README.md LICENSE ./

# torch first and alone: the largest part stays as it is when the code changes
RUN pip install --constraint requirements.lock torch==2.13.0

COPY s3dnerf ./s3dnerf
COPY stages ./stages
COPY flows ./flows

# the version is git's, whose history is not in the image: the argument says it
ARG VERSION=0.1.0+image
RUN SETUPTOOLS_SCM_PRETEND_VERSION="$VERSION" pip install --constraint requirements.lock \
      --constraint requirements-extras.lock ".[serve,photos]" \
 && rm -rf build ./*.egg-info

# a person without rights, in a folder that is the place to mount one's own files
RUN useradd --create-home --uid 1000 person && mkdir /videos && chown person /videos
USER person
RUN s3dnerf fetch whisper && s3dnerf --version

# nothing is asked of any network from here on
ENV HF_HUB_OFFLINE=1 GRADIO_ANALYTICS_ENABLED=False
WORKDIR /videos
EXPOSE 7860
ENTRYPOINT ["s3dnerf"]
CMD ["--help"]
