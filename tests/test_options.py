"An option is described once: cells and commands are held to the fields of the two configs."
import ast, io, re, tokenize
from dataclasses import MISSING, fields
import nbformat, pytest
from conftest import root
from gpfq_nb.cli import gpfq_quantize, gpfq_sweep, gpfq_train
from gpfq_nb.config import QuantConfig
from gpfq_nb.selection import DataConfig
from gpfq_nb.recipe import TrainConfig

CELLS = [('train', TrainConfig), ('quantize', QuantConfig), ('train', DataConfig), ('quantize', DataConfig)]

def named(o): return getattr(o, '__name__', None)

each_cell = pytest.mark.parametrize('kind,config', CELLS, ids=named)

def default(field): return field.default_factory() if field.default is MISSING else field.default

def parameters(kind):
    "Name -> (value, comment) of what a cell's notebook declares"
    nb = nbformat.read(root/'nbs'/'cells'/f'{kind}.ipynb', 4)
    source = next(c.source for c in nb.cells if 'parameters' in c.metadata.get('tags', ()))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip('# ') for t in tokens if t.type == tokenize.COMMENT}
    return {n.targets[0].id: (ast.literal_eval(n.value), comments.get(n.lineno, '')) for n in ast.parse(source).body}

@each_cell
def test_cell_has_every_field(kind, config):
    given = parameters(kind)
    missing = [f.name for f in fields(config) if f.name not in given]
    assert not missing

@each_cell
def test_cell_has_the_fields_defaults(kind, config):
    "or None, where a preset decides"
    given = parameters(kind)
    def same(value, field):
        if value is None: return kind == 'quantize' or default(field) is None
        return (tuple(value) if isinstance(value, list) else value) == default(field)
    other = {f.name: given[f.name][0] for f in fields(config) if not same(given[f.name][0], f)}
    assert not other

@each_cell
def test_cell_says_the_fields_sentences(kind, config):
    "to which `seed` adds what None is"
    given = parameters(kind)
    other = {f.name: given[f.name][1] for f in fields(config) if given[f.name][1].split('; None: calib_seed')[0] != f.metadata['sentence']}
    assert not other

COMMANDS = [(gpfq_train, TrainConfig, ()), (gpfq_quantize, QuantConfig, ()), (gpfq_sweep, TrainConfig, ('lr', 'seed')),
    (gpfq_sweep, QuantConfig, ('seed',)),
    *((command, DataConfig, ()) for command in (gpfq_train, gpfq_quantize, gpfq_sweep))]

@pytest.mark.parametrize('command,config,without', COMMANDS, ids=lambda o: getattr(o, '__name__', ''))
def test_command_offers_every_field(command, config, without):
    parser = command.parser()
    help_ = re.sub(r'\s+', ' ', parser.format_help())
    for f in fields(config):
        if f.name in without: continue
        assert '--' + f.name.replace('_', '-') in parser.spellings()
        assert f.metadata['sentence'] in help_
