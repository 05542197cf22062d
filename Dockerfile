# docker build -t gpfq_nb .
# mkdir -p runs data
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/runs:/project/runs" -v "$PWD/data:/project/data" gpfq_nb gpfq_sweep --help
#
# The same for gpfq_train, gpfq_quantize, gpfq_plots and gpfq_report. `--user` makes what is written yours; the two host
# folders must be yours too, so make them first. `--gpus all`, before the image's name, lends it the host's NVIDIA GPUs.
# Decoded and downloaded images are kept in /project/data: with that folder on the host, CIFAR-10 is fetched once.
#
# An index that has torch for CPUs makes the image gigabytes smaller: --build-arg PIP_EXTRA_INDEX_URL=…
FROM python:3.11-slim

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
CMD ["gpfq_sweep", "--help"]
