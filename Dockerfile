# docker build -t gpfq_nb .
# docker run --rm -v "$PWD/runs:/project/runs" -v "$PWD/data:/project/data" gpfq_nb gpfq_sweep --help
#
# The same for gpfq_train, gpfq_quantize, gpfq_plots and gpfq_report. `--user "$(id -u)"` makes what is written yours.
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

# a home that any user may write to, for `docker run --user`
WORKDIR /project
ENV HOME=/project
RUN useradd --home-dir /project gpfq && mkdir -p runs data && chmod 1777 . runs data
USER gpfq
VOLUME /project/runs /project/data
CMD ["gpfq_sweep", "--help"]
