# The project and its environment, for a machine that has a container engine and nothing else. Binder builds it as it
# is; docs/publishing.md tells how Apptainer runs it. Results go to MP_ROOT, which may be any folder that can be written.
#
#   docker build --tag mamba-policy .
#   docker run --rm mamba-policy ./run_all.sh smoke
#   docker run --rm --publish 8888:8888 mamba-policy
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}

# git: results name their commit. gcc: inner loops. EGL with software rendering: depth images; without it rays are cast.
# Versions are not pinned: Debian's mirrors have a package's newest alone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc git libc6-dev libegl1 libgl1 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

# Binder asks for these names.
ARG NB_USER=jovyan
ARG NB_UID=1000
# Whoever runs it, as under Apptainer, git is to tell the commit of a folder that belongs to this user.
RUN useradd --create-home --uid ${NB_UID} ${NB_USER} \
    && mkdir /opt/mamba-policy \
    && chown ${NB_USER} /opt/mamba-policy \
    && git config --system --add safe.directory /opt/mamba-policy
USER ${NB_USER}
ENV HOME=/home/${NB_USER}
WORKDIR /opt/mamba-policy

# The environment is one layer, which is made anew only where what it is made from has changed. From PyTorch's own index
# come builds for the CPU; with --build-arg PIP_EXTRA_INDEX_URL= those of PyPI, for GPUs and 3 GB larger.
COPY --chown=${NB_UID} run_all.sh pyproject.toml constraints.txt README.md ./
COPY --chown=${NB_UID} mp_lib/__init__.py mp_lib/
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN PIP_NO_CACHE_DIR=1 ./run_all.sh setup

COPY --chown=${NB_UID} . .
ENV PATH=/opt/mamba-policy/.venv/bin:${PATH}
EXPOSE 8888
CMD ["./run_all.sh", "lab", "--ip=0.0.0.0", "--no-browser"]
