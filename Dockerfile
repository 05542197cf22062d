# docker build -t gpfq_nb .
# mkdir -p runs data
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/runs:/project/runs" -v "$PWD/data:/project/data" gpfq_nb gpfq_sweep --help
#
# The same for every other command, gpfq_train, gpfq_quantize, gpfq_status, ... `--user` makes what is written yours; the two
# host folders must be yours too, so make them first. Decoded and downloaded images are kept in /project/data: with that folder
# on the host, CIFAR-10 is fetched once.
#
# With an NVIDIA GPU and NVIDIA's Container Toolkit on the host: docker run --gpus all ... (or --gpus device=0), before the
# image's name; a command takes the GPU that it sees, unless --device says otherwise. Without a GPU, an index that has torch
# for CPUs makes the image gigabytes smaller: docker build --build-arg PIP_EXTRA_INDEX_URL=…
#
# JupyterLab with the notebooks, and everything that they need:
# docker build -t gpfq_nb:lab --target lab .
# docker run --rm -p 127.0.0.1:8888:8888 --user "$(id -u):$(id -g)" -v "$PWD/runs:/project/runs" -v "$PWD/data:/project/data" gpfq_nb:lab
# It prints an address with a token, to be opened in a browser. What is changed in a notebook goes with the container, unless
# a folder of the host's is in its place: cp -r nbs mine, then -v "$PWD/mine:/project/nbs".

FROM python:3.11-slim AS base

ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1

# the dependencies first: they change less often than the package
WORKDIR /src
COPY constraints.txt settings.ini ./
RUN python -c "from configparser import ConfigParser as P; p = P(); p.read('settings.ini'); \
print(*p['DEFAULT']['requirements'].split(), sep='\n')" > requirements.txt \
 && pip install -c constraints.txt setuptools -r requirements.txt

COPY setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY gpfq_nb gpfq_nb
COPY nbs/cells nbs/cells
RUN pip install --no-deps --no-build-isolation .

# a home that any user may write to, for `docker run --user`; what libraries keep for themselves lies below .cache
WORKDIR /project
ENV HOME=/project GPFQ_CACHE=/project/data
ENV XDG_CACHE_HOME=/project/.cache MPLCONFIGDIR=/project/.cache/matplotlib NUMBA_CACHE_DIR=/project/.cache/numba \
    IPYTHONDIR=/project/.cache/ipython JUPYTER_RUNTIME_DIR=/project/.cache/jupyter JUPYTER_DATA_DIR=/project/.cache/jupyter-data \
    JUPYTER_CONFIG_DIR=/project/.cache/jupyter-config TORCH_HOME=/project/.cache/torch
RUN useradd --home-dir /project gpfq && mkdir -p runs data .cache && chmod 1777 . runs data .cache
USER gpfq
VOLUME /project/runs /project/data

FROM base AS lab

USER root
WORKDIR /src
RUN pip install -c constraints.txt --no-build-isolation '.[dev]'
WORKDIR /project
COPY settings.ini ./
COPY nbs nbs
# anybody may save a notebook
RUN chmod -R a+rwX nbs
USER gpfq
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--notebook-dir=/project/nbs"]

# the last one is what `docker build` makes if no target is named: the commands alone
FROM base AS commands

CMD ["gpfq_sweep", "--help"]
