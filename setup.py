"Packaging: everything is in settings.ini; this only hands it to setuptools."
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

here = Path(__file__).parent
ini = ConfigParser()
ini.read_string((here/'settings.ini').read_text(encoding='utf-8'))
cfg,lib = ini['DEFAULT'],ini['DEFAULT']['lib_name']

def described(text, git_url, branch):
    "A README as a package index shows it: links to files lead to the repository; without a public one they are text"
    public = '//example.' not in git_url
    def link(m):
        bang,shown,to = m.groups()
        if re.match(r'\w+:|#', to): return m[0]
        if not public: return '' if bang else shown
        return f"{bang}[{shown}]({git_url}/{'raw' if bang else 'blob'}/{branch}/{to})"
    parts = re.split(r'(^```.*?^```)', text, flags=re.M|re.S)       # code stays as it is
    return ''.join(p if p.startswith('```') else re.sub(r'(!?)\[([^\[\]]*)\]\(([^()\s]+)\)', link, p) for p in parts)

extras = 'timm','onnx','dask','s3','page','mlflow','curvature','stats'
readme = (here/'README.md').read_text(encoding='utf-8')
setup(
    name=lib, version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'].split(),
    long_description=described(readme, cfg['git_url'], cfg['branch']), long_description_content_type='text/markdown',
    author=cfg['author'], author_email=cfg['author_email'], license='Apache-2.0', license_files=['LICENSE'],
    classifiers=['Development Status :: 3 - Alpha', f"Intended Audience :: {cfg['audience']}",
                 'Programming Language :: Python :: 3', 'Topic :: Scientific/Engineering :: Artificial Intelligence'],
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg['requirements'].split(),
    extras_require={'dev': [r for kind in ('dev','runtime',*extras) for r in cfg[f'{kind}_requirements'].split()],
                    **{kind: cfg[f'{kind}_requirements'].split() for kind in (*extras,'peers')}},
    # the notebooks that papermill runs travel inside the package, from the one place where they are written
    packages=[lib, f'{lib}.cells'], package_dir={f'{lib}.cells': 'nbs/cells'}, package_data={f'{lib}.cells': ['*.ipynb']},
    entry_points={'console_scripts': cfg['console_scripts'].splitlines(), 'nbdev': [f'{lib}={lib}._modidx:d']})
