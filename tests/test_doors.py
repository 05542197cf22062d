"Bad input at every door: refused soon, in one line that names what was given, and nothing is lost."
import functools, io, json, lzma, os, pickle, runpy, shlex, shutil, signal, stat, struct, sys, tarfile, zipfile, zlib
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
import numpy as np, pytest, torch
from papermill import PapermillExecutionError
from PIL import Image
from safetensors.torch import save
from gpfq_nb import sweep
from gpfq_nb.data import load_dataset
from gpfq_nb.execute import execute, templates
from gpfq_nb.files import load_tensors
from gpfq_nb.jobs import quantize_job, train_job
from gpfq_nb.models import check_model_name, create_model

HUGE = 10**25          # no machine counts so far
SECONDS = 20           # that a refusal may take
LONGEST = 600          # characters of a message

# -- the house: what is there before somebody knocks, and must be there afterwards

@pytest.fixture(scope='session')
def finished(tmp_path_factory):
    "A finished training and a finished quantization, made once"
    home = tmp_path_factory.mktemp('finished')
    train_job(home/'train', epochs=1, batch_size=64, progress=False)
    quantize_job(home/'quantized', home/'train'/'weights.safetensors', calib=32, progress=False)
    return home

@pytest.fixture(autouse=True)
def room(finished, tmp_path, monkeypatch):
    "A copy of both, a study with a finished cell and an empty cache: the working folder of a case"
    for name in ('train', 'quantized'): shutil.copytree(finished/name, tmp_path/name)
    shutil.copytree(finished/'train', tmp_path/'runs'/'s'/'train'/'lr=1e-03_seed=0')
    (tmp_path/'cache').mkdir()
    monkeypatch.setenv('GPFQ_CACHE', str(tmp_path/'cache'))
    monkeypatch.chdir(tmp_path)
    return tmp_path

def contents(folder='.'):
    "Everything below a folder by its name: a file's bytes, a link's target, of anything else its kind"
    def what(p):
        if p.is_symlink(): return os.readlink(p)
        if p.is_file(): return p.read_bytes()
        return stat.S_IFMT(p.lstat().st_mode)
    return {str(p): what(p) for p in Path(folder).rglob('*')}

@contextmanager
def within(seconds):
    "Fail if the block is not through in time"
    def late(*_): pytest.fail(f'still at it after {seconds} s')
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try: yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

@contextmanager
def nothing_lost(folder='.'):
    "Fail if a file or folder is new, gone or another after the block"
    before = contents(folder)
    yield
    after = contents(folder)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    assert not changed

def check(said, words):
    "Fail for a message that is not one line, is too long, or lacks one of the words"
    assert len(said.splitlines()) == 1 and len(said) < LONGEST, f'{len(said)} characters: {said[:LONGEST]}'
    missing = [w for w in words if w not in said]
    assert not missing, said

def refused_by_call(call, *words):
    "Call a function that must refuse its arguments"
    with nothing_lost(), within(SECONDS), pytest.raises((ValueError, OSError)) as e: call()
    check(str(e.value), words)

def command(line):
    "The arguments of a command, the first one the file that is installed for it"
    name,*args = shlex.split(line)
    path = Path(name).absolute()
    where, = entry_points(group='console_scripts', name=name)
    path.write_text(f"from {where.module} import {name}\nif __name__ == '__main__': {name}()\n")
    return [str(path), *args]

def run(argv):
    "Run a command in this process, as its console script does: its exit code"
    before,sys.argv = sys.argv,argv
    handlers = {sig: signal.getsignal(sig) for sig in (signal.SIGINT, signal.SIGTERM)}    # a script's end ignores them
    try:
        with within(SECONDS): runpy.run_path(argv[0], run_name='__main__')
    except SystemExit as e: return e.code
    finally:
        sys.argv = before
        for sig,handler in handlers.items(): signal.signal(sig, handler)
    return 0

def refused_by_command(capsys, line, *words):
    "Run a command that must end with code 2 and one line, and print nothing else"
    argv = command(line)
    with nothing_lost(): code = run(argv)
    out,err = capsys.readouterr()
    assert (code, out) == (2, ''), err
    name = Path(argv[0]).name
    assert err.startswith(f'{name}: ') and 'Traceback' not in err, err
    check(err.removeprefix(f'{name}: '), words)

# -- what is brought to the doors

def write(name, data):
    "A file of this content"
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(data)

@functools.cache
def png(h=8, w=8):
    "A small grey image, as a file's content"
    f = io.BytesIO()
    Image.fromarray((np.arange(h*w) % 251).astype(np.uint8).reshape(h, w)).save(f, 'PNG')
    return f.getvalue()

def huge_png():
    "An image that says it has 60,000 x 60,000 pixels"
    chunk = lambda kind,data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    head = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(bytes(99))) + chunk(b'IEND', b'')

GOOD = [f'{split}/{c}/{i}.png' for split in ('train', 'test') for c in 'ab' for i in range(2)]

def images(*without, **more):
    "A folder of images in two classes, without some, and with more files: name -> content"
    for name in GOOD:
        if not name.startswith(without): write(f'images/{name}', png())
        else: Path(f'images/{name}').parent.mkdir(parents=True, exist_ok=True)
    for name,data in more.items(): write(f'images/{name}', data)

def images_and_pipe():
    images()
    os.mkfifo('images/train/a/x.png')

def no_train_split():
    images()
    shutil.rmtree('images/train')

def member(name, data=b'', kind=tarfile.REGTYPE, to=''):
    "A member of an archive: header and content"
    info = tarfile.TarInfo(name)
    info.size,info.type,info.linkname = len(data), kind, to
    return info, data

def tar(*more):
    "An archive of the images, and of more members, as bytes"
    f = io.BytesIO()
    with tarfile.open(fileobj=f, mode='w', format=tarfile.GNU_FORMAT) as t:
        for info,data in [*(member(name, png()) for name in GOOD), *more]: t.addfile(info, io.BytesIO(data))
    return f.getvalue()

@functools.cache
def zeros():
    "2 GiB of zeros in 300 kB: xz streams in a row unpack to one"
    return 32*lzma.compress(bytes(1 << 26), preset=0)

def zip_of(**files):
    "A zip file, as bytes"
    f = io.BytesIO()
    with zipfile.ZipFile(f, 'w', zipfile.ZIP_DEFLATED) as z:
        for name,data in files.items(): z.writestr(name, data)
    return f.getvalue()

def arrays(**changes):
    "What an .npz should hold, with changes; None: left out"
    x = (np.arange(256) % 251).astype(np.uint8).reshape(4, 1, 8, 8)
    y = np.array([0, 1, 0, 1])
    both = dict(train_x=x, train_y=y, test_x=x, test_y=y) | changes
    return {k: v for k,v in both.items() if v is not None}

def npz(**changes): np.savez('bad.npz', **arrays(**changes))

def npz_behind_junk():
    npz()
    write('bad.npz', b'junk' + Path('bad.npz').read_bytes())

def npz_cut():
    npz()
    write('bad.npz', Path('bad.npz').read_bytes()[:700])

def npz_with_header(text):
    "An .npz whose train_x is nothing but this header"
    npz()
    with zipfile.ZipFile('bad.npz') as z: files = {n: z.read(n) for n in z.namelist()}
    files['train_x.npy'] = b'\x93NUMPY\1\0' + struct.pack('<H', len(text)) + text.encode()
    write('bad.npz', zip_of(**files))

def npz_twice():
    "An .npz with two arrays of the same name, one after the other"
    npz()
    f = io.BytesIO()
    np.save(f, np.array([1, 1, 1, 1]))
    with zipfile.ZipFile('bad.npz', 'a') as z, pytest.warns(UserWarning, match='Duplicate'):
        z.writestr('train_y.npy', f.getvalue())

# -- data

IMAGES,TAR,NPZ = 'folder:images','folder:a.tar','npz:bad.npz'

def image(data): return lambda: images(**{'train/a/x.png': data})
def tarred(*more): return lambda: write('a.tar', tar(*more))
def tar_of(data): return lambda: write('a.tar', data)
def npz_of(**changes): return lambda: npz(**changes)
def labels(*values, dtype=None): return npz_of(train_y=np.array(values, dtype))
none_to_train = npz_of(train_x=arrays()['train_x'][:0], train_y=np.zeros(0, int))

def headed(shape): return lambda: npz_with_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n")

OUT_OF_IT = member('train/a/x.png', kind=tarfile.SYMTYPE, to='/etc/hosts')
MANY = [member(f'train/c{i}', kind=tarfile.DIRTYPE) for i in range(5000)]
SPACES = 'a'*40 + ' '*300_000 + '\ntrain/a/9.png'
CODE = "__import__('os').mkdir('victim')\n"

DATA = { # what it is: what makes it, the data set's name, words of the answer
    'no such set':            (None, 'cifar', ['cifar', 'digits']),
    'no name at all':         (None, '', ["''", 'digits']),
    'no path':                (None, 'folder:', ['folder:']),
    'no such folder':         (None, 'folder:nowhere', ['nowhere']),
    'no such npz':            (None, 'npz:nowhere.npz', ['nowhere.npz']),
    'home of nobody':         (None, 'folder:~nobody_here/x', ['~nobody_here']),
    'npz of nobody':          (None, 'npz:~nobody_here/x', ['~nobody_here']),
    'long name':              (None, 'folder:' + 'x'*300, ['xxx']),
    'device as npz':          (None, 'npz:/dev/zero', ['/dev/zero']),
    'folder as npz':          (images, 'npz:images', ['images', 'folder']),
    'no train split':         (no_train_split, IMAGES, ['train']),
    'empty class':            (lambda: images('train/a'), IMAGES, ['train/a']),
    'class of one split':     (lambda: images(**{'train/c/0.png': png()}), IMAGES, ['only in train', 'c']),
    'two sizes':              (image(png(9, 8)), IMAGES, ['train/a/x.png', '9×8']),
    'image without a class':  (lambda: images(**{'train/x.png': png()}), IMAGES, ['train/x.png']),
    'empty image':            (image(b''), IMAGES, ['train/a/x.png']),
    'half an image':          (image(png()[:50]), IMAGES, ['train/a/x.png']),
    'image of 3600 Mpixels':  (image(huge_png()), IMAGES, ['train/a/x.png', 'pixels']),
    'name of two lines':      (lambda: images(**{'train/a/x\ny.png': b''}), IMAGES, ['train/a/x']),
    'pipe as an image':       (images_and_pipe, IMAGES, ['train/a/x.png', 'pipe']),
    'listed, not there':      (lambda: images(MANIFEST=b'train/a/9.png'), IMAGES, ['MANIFEST', 'train/a/9.png']),
    'list of 300 kB spaces':  (lambda: images(MANIFEST=SPACES.encode()), IMAGES, ['MANIFEST']),
    'cut tar':                (tar_of(tar()[:5120]), TAR, ['a.tar', 'whole']),
    'cut tar, at a header':   (tar_of(tar()[:8192]), TAR, ['a.tar', 'whole']),
    'cut xz':                 (tar_of(lzma.compress(tar())[:-20]), TAR, ['a.tar', 'whole']),
    'two tars in one':        (tar_of(tar() + tar()), TAR, ['a.tar', 'behind']),
    'zip as tar':             (tar_of(zip_of(x=b'x')), TAR, ['a.tar', 'zip']),
    'npz as tar':             (lambda: (npz(), os.rename('bad.npz', 'a.tar')), TAR, ['a.tar', 'npz:']),
    'text as tar':            (tar_of(b'dear sir\n'*99), TAR, ['a.tar', 'header']),
    'nothing as tar':         (tar_of(b''), TAR, ['a.tar', 'whole']),
    'pipe as tar':            (lambda: os.mkfifo('a.tar'), TAR, ['a.tar', 'pipe']),
    'pipe in a tar':          (tarred(member('train/a/x.png', kind=tarfile.FIFOTYPE)), TAR, ['train/a/x.png']),
    'link out of a tar':      (tarred(OUT_OF_IT), TAR, ['train/a/x.png', 'link']),
    'image in a tar twice':   (tarred(member('./train/a/0.png', png())), TAR, ['train/a/0.png', 'twice']),
    'name of 100 kB':         (tarred(member(f'train/a/{"x"*100_000}.png', b'no')), TAR, ['train/a/xxx']),
    '5000 classes too many':  (tarred(*MANY), TAR, ['only in train', 'c0']),
    'tar of 2 GiB zeros':     (lambda: write('a.tar', zeros()), TAR, ['a.tar', 'unpacks']),
    'text as npz':            (lambda: write('bad.npz', b'dear sir'), NPZ, ['bad.npz']),
    'cut npz':                (npz_cut, NPZ, ['bad.npz']),
    'npz behind junk':        (npz_behind_junk, NPZ, ['bad.npz']),
    'pipe as npz':            (lambda: os.mkfifo('bad.npz'), NPZ, ['bad.npz', 'pipe']),
    'npz without labels':     (npz_of(train_y=None), NPZ, ['bad.npz', 'train_y']),
    'names of 60 kB':         (lambda: np.savez('bad.npz', **{'k'*60_000: 1}), NPZ, ['bad.npz', 'train_x']),
    'labels twice':           (npz_twice, NPZ, ['bad.npz', 'train_y']),
    'label 1000000000':       (labels(0, 1, 0, 10**9), NPZ, ['train_y', '1000000000']),
    'label -1':               (labels(0, 1, 0, -1), NPZ, ['train_y', '-1']),
    'label 2^64-1':           (labels(0, 1, 0, 2**64-1, dtype=np.uint64), NPZ, ['train_y', '18446744073709551615']),
    'labels with fractions':  (labels(0., 1., 0., 1.), NPZ, ['train_y', 'float64']),
    'too few labels':         (labels(0, 1), NPZ, ['train_y', '(2,)']),
    'labels of objects':      (labels(0, 1, None, 1, dtype=object), NPZ, ['bad.npz', 'objects']),
    'classes without a list': (npz_of(classes=np.array('a')), NPZ, ['classes', '()']),
    'too few classes':        (npz_of(classes=np.array(['a'])), NPZ, ['train_y', '1 classes']),
    'channels last':          (npz_of(train_x=np.zeros((4, 8, 8, 3), np.uint8)), NPZ, ['train_x', 'transpose']),
    'no images':              (none_to_train, NPZ, ['train', 'no images']),
    'black images':           (npz_of(train_x=np.zeros((4, 1, 8, 8), np.uint8)), NPZ, ['bad', 'deviation']),
    'one image':              (npz_of(train_x=arrays()['train_x'][:1], train_y=np.array([0])), NPZ, ['batch norm']),
    'header of a TB':         (headed((10**12, 1, 8, 8)), NPZ, ['bad.npz', '1000000000000']),
    'header that is code':    (lambda: npz_with_header(CODE), NPZ, ['bad.npz']),
    'header of brackets':     (lambda: npz_with_header('('*9000), NPZ, ['bad.npz']),
}

@pytest.mark.parametrize('make,spec,words', DATA.values(), ids=DATA)
def test_data(capsys, make, spec, words):
    if make: make()
    refused_by_command(capsys, f'gpfq_train --data {spec!r} --out train --force --epochs 1 --quiet', *words)

LOADS = { # what it is: the data set's name, options, words of the answer
    'size 0':            ('folder:images', dict(size=0), ['size is 0']),
    'size 1000000':      ('folder:images', dict(size=10**6), ['1000000']),
    'size of digits':    ('digits', dict(size=8), ['size=8', 'digits']),
    'resize 4, size 8':  ('folder:images', dict(size=8, resize=4), ['resize=4', 'size=8']),
    'split of splits':   ('folder:images', dict(split=.2), ['split=0.2', 'train/ and test/']),
    'split of digits':   ('digits', dict(split=.2), ['split=0.2', 'digits']),
    'limit of half':     ('digits', dict(train_limit=.5), ['train_limit', '0.5']),
    'val 0':             ('digits', dict(val=0), ['val', '0']),
    'val of all':        ('digits', dict(val=1442), ['val', '1442']),
    'val 1.5':           ('digits', dict(val=1.5), ['val', '1.5']),
    'cache in a file':   ('folder:images', dict(cache='images/train/a/0.png'), ['images/train/a/0.png', 'GPFQ_CACHE']),
    'unknown means':     ('digits', dict(normalize='mnist'), ['mnist']),
    'three means':       ('digits', dict(normalize='imagenet'), ['3 means', '1 channel']),
    'deviation 0':       ('digits', dict(normalize=((.5,), (0.,))), ['digits', '0.0']),
    'mean 10^400':       ('digits', dict(normalize=((10**400,), (1.,))), ['normalize']),
    'NUL in a path':     ('folder:a\0b', {}, ['folder', 'a']),
}

@pytest.mark.parametrize('spec,options,words', LOADS.values(), ids=LOADS)
def test_load_dataset(spec, options, words):
    images()
    refused_by_call(lambda: load_dataset(spec, progress=False, **options), *words)

# -- weights

def weights(facts={}, **tensors):
    "The weights of the finished training with other facts or tensors"
    held,meta = load_tensors('train/weights.safetensors')
    text = facts if isinstance(facts, str) else json.dumps(meta | facts)
    write('bad.safetensors', save(held | tensors, {'gpfq_nb': text}))

def saved(what): torch.save(what, 'bad.pt')

def state(**tensors): return load_tensors('train/weights.safetensors')[0] | tensors

other_labels = npz_of(test_y=np.array([0, 11, 1, 2]))

def with_state(**tensors): return lambda: saved(state(**tensors))
def with_facts(**facts): return lambda: weights(facts)
def with_tensors(**tensors): return lambda: weights(**tensors)
def part(n): write('bad.safetensors', Path('train/weights.safetensors').read_bytes()[:n])

def scripted(): torch.jit.script(create_model('tiny', in_channels=1, seed=0)).save('bad.pt')

def bare(): write('bad.safetensors', save(state()))

def no_bias(): saved({k: v for k,v in state().items() if k != 'fc.bias'})

ST,PT,DONE = 'bad.safetensors','bad.pt','train/weights.safetensors'
NAN = torch.full((10,), float('nan'))
TINY = '--model tiny --normalize 0.3/0.4'

WEIGHTS = { # what it is: what makes it, its name and further options, words of the answer
    'not there':             (None, 'nowhere.pt', ['nowhere.pt']),
    'a folder':              (None, 'train', ['train']),
    'a pipe':                (lambda: os.mkfifo(PT), PT, [PT]),
    'a device':              (None, '/dev/zero', ['/dev/zero']),
    'empty safetensors':     (lambda: write(ST, b''), ST, [ST, 'empty']),
    'empty pt':              (lambda: write(PT, b''), PT, [PT, 'empty']),
    'first 1000 bytes':      (lambda: part(1000), ST, [ST, '1,000 bytes']),
    'all but a byte':        (lambda: part(-1), ST, [ST, 'whole']),
    'header of 2^60 bytes':  (lambda: write(ST, struct.pack('<Q', 1 << 60) + b'{}'), ST, [ST]),
    'text':                  (lambda: write(PT, b'dear sir\n'), PT, [PT]),
    'zip of something':      (lambda: write(PT, zip_of(x=b'x')), PT, [PT]),
    'whole module':          (lambda: saved(create_model('tiny', in_channels=1)), PT, [PT, 'pickle']),
    "Python's own pickle":   (lambda: write(PT, pickle.dumps({'a': 1})), PT, [PT, 'pickle']),
    'TorchScript':           (scripted, PT, [PT, 'TorchScript']),
    'a list':                (lambda: saved([1, 2]), PT, [PT, 'list']),
    'names are numbers':     (lambda: saved({1: torch.ones(2)}), PT, [PT, '1 (Tensor)']),
    'two state dicts':       (lambda: saved(dict(one=state(), two=state())), PT, [PT, "'one', 'two'"]),
    'name of 100 kB':        (lambda: saved({'k'*100_000: torch.ones(2)}), f'{PT} {TINY}', [PT, 'kkk']),
    'sparse weights':        (with_state(**{'fc.bias': torch.ones(10).to_sparse()}), f'{PT} {TINY}', [PT, 'fc.bias']),
    'weights without data':  (with_state(**{'fc.bias': torch.ones(10).to('meta')}), f'{PT} {TINY}', [PT, 'fc.bias']),
    'complex weights':       (with_state(**{'fc.bias': torch.ones(10)*1j}), f'{PT} {TINY}', [PT, 'fc.bias']),
    'whole-number weights':  (with_tensors(**{'fc.bias': torch.arange(10)}), ST, [ST, 'fc.bias']),
    'NaN':                   (with_tensors(**{'fc.bias': NAN}), ST, ['fc.bias', 'not finite']),
    'negative variance':     (with_tensors(**{'bn1.running_var': -torch.ones(16)}), ST, ['not finite']),
    'a layer missing':       (no_bias, f'{PT} {TINY}', ['missing', 'fc.bias']),
    'another network':       (None, f'{DONE} --model mlp', ['mlp', 'do not fit']),
    'network of no name':    (bare, f'{ST} --normalize 0.3/0.4', [ST, '--model']),
    'unknown means':         (bare, f'{ST} --model tiny', [ST, '--normalize']),
    'facts that are no JSON':(lambda: weights('{'), ST, [ST, 'JSON']),
    'facts of brackets':     (lambda: weights('['*100_000), ST, [ST, 'JSON']),
    'facts in a list':       (lambda: weights('[]'), ST, [ST, '[]']),
    'ten classes as text':   (with_facts(num_classes='10'), ST, [ST, "num_classes = '10'"]),
    '10^9 classes':          (with_facts(num_classes=10**9), ST, [ST, '1000000000']),
    'no deviations':         (with_facts(std=None), ST, [ST, 'std = None']),
    'mean 10^400':           (with_facts(mean=[10**400]), ST, [ST, 'mean']),
    'means for colours':     (with_facts(mean=[.5]*3, std=[1.]*3), ST, ['3 means']),
    'inputs of no layer':    (with_facts(inputs={'conv9': [1, 0, 255]}), ST, [ST, 'conv9']),
    'inputs of the model':   (with_facts(inputs={'': [1, 0, 255]}), ST, [ST, 'inputs']),
    'inputs of step 10^400': (with_facts(inputs={'conv2': [10**400, 0, 255]}), ST, [ST, 'inputs']),
    'trained at rate fast':  (with_facts(training=dict(lr='fast')), ST, [ST, 'training', 'fast']),
    'other classes':         (other_labels, f'{DONE} --data {NPZ} --calib 2', ['11', '10 outputs']),
}

@pytest.mark.filterwarnings('ignore:.*torch.jit')
@pytest.mark.parametrize('make,given,words', WEIGHTS.values(), ids=WEIGHTS)
def test_weights(capsys, make, given, words):
    if make: make()
    refused_by_command(capsys, f'gpfq_quantize --out quantized --force --quiet --calib 32 --weights {given}', *words)

def test_names_of_networks(): refused_by_call(lambda: check_model_name('zzzzzz'), 'zzzzzz', 'tiny')

# -- options

TRAIN = { # options: words of the answer
    '--epochs 0': ['epochs', '0'],
    '--epochs ten': ['--epochs', 'ten'],
    '--epoch_s 3': ['--epoch_s', 'did you mean --epochs?'],
    '--config nowhere.yaml': ['--config', 'nowhere.yaml'],
    '--config train': ['--config', 'train'],
    '--lr': ['--lr'],
    '--lr fast': ['fast'],
    '--lr 0': ["'0'"],
    '--lr nan': ['nan'],
    '--lr 0,001': ["'0'"],
    '--lr 1e-3 1e400': ['1e400'],
    '--seed -1': ['seed', '-1'],
    f'--seed {HUGE}': ['seed', str(HUGE)],
    '--batch_size 0': ['batch_size', '0'],
    '--batch_size 1': ['batch_size=1'],
    f'--batch_size {HUGE}': ['batch_size'],
    '--optimizer adagrad': ['adagrad'],
    '--momentum 1': ['momentum', '1'],
    '--nesterov': ['nesterov'],
    '--weight_decay inf': ['weight_decay', 'inf'],
    '--schedule linear': ['linear'],
    '--schedule step': ['milestones'],
    '--schedule step --milestones 5 --epochs 5': ['milestone', '5'],
    '--milestones 1 --epochs 3': ['milestones', 'step'],
    '--warmup 9': ['warmup', '9'],
    '--label_smoothing 1': ['label_smoothing', '1'],
    '--augment maybe': ['--augment', 'maybe'],
    '--stem cifar100': ['cifar100'],
    '--size 8': ['size=8', 'digits'],
    '--size 0': ['size', '0'],
    f'--size {HUGE}': ['size', str(HUGE)],
    '--size half': ['--size', 'half'],
    '--resize 8': ['resize=8', 'size'],
    '--size 8 --resize 4': ['resize=4', 'size=8'],
    '--split 1': ['split', '1'],
    '--split 0.2': ['split=0.2', 'digits'],
    '--split nan': ['nan'],
    '--train-limit 0': ['train_limit', '0'],
    '--test-limit 1.5': ['--test-limit', '1.5'],
    '--normalize 0.5/0': ['0.0'],
    '--normalize a/b/c': ['a/b/c'],
    '--normalize nan/1': ['nan'],
    '--device banana': ['banana'],
    '--device cuda:99': ['cuda:99'],
    '--model resnet19': ['resnet19', 'resnet18'],
    '--model alexnet': ['alexnet', '8, 8'],
}

@pytest.mark.parametrize('options', TRAIN)
def test_train_options(capsys, options):
    refused_by_command(capsys, f'gpfq_train --out train --force --quiet --epochs 1 {options}', *TRAIN[options])

QUANTIZE = { # options: words of the answer
    '--bits 0': ['bits', '0'],
    '--bits 4 99': ['bits', '99'],
    '--bits 1.5': ['bits', '1.5'],
    '--bits nan': ['bits', 'nan'],
    '--bits four': ['--bits', 'four'],
    '--bits 1 --levels symmetric': ['symmetric'],
    '--bits 2.5 --act_bits 0': ['act_bits', '0'],
    '--calib 0': ['calib', '0'],
    '--calib 1443': ['1443', '1442'],
    '--seed -1': ['seed', '-1'],
    '--calib-seed -1': ['calib_seed', '-1'],
    '--calib-sed 1': ['--calib-sed', 'did you mean --calib-seed?'],
    '--preset best': ['best'],
    '--method adaround': ['adaround'],
    '--granularity tensor': ['tensor'],
    '--scalar 0': ['scalar', '0'],
    '--scalar 1e308': ['scalar', '1e+308'],
    '--percentile 1.1': ['percentile', '1.1'],
    '--regularizer L2': ['L2'],
    '--regularizer L1 --method gptq': ['regularizer', 'gptq'],
    '--rounding stochastic': ['stochastic'],
    '--stochastic yes': ['--stochastic', '--rounding stochastic'],
    '--fusion yes': ['--fusion', '--fuse-bn'],
    '--no_model': ['--no_model', '--save none'],
    '--retain_rate 0': ['retain_rate', '0'],
    '--damp -1': ['damp', '-1'],
    '--search 9999': ['search', '9999'],
    '--beam 1000000': ['beam', '1000000'],
    '--sweeps -1': ['sweeps', '-1'],
    f'--batch_size {HUGE}': ['batch_size'],
    '--device cuda:99': ['cuda:99'],
    '--skip conv9': ['conv9'],
    '--skip 99': ['99'],
    '--skip ²': ['skip', '²'],
    '--overrides fc:8': ['overrides', 'fc:8'],
    "--overrides '[]'": ['overrides', '[]'],
    """--overrides '{"fc": 8}'""": ['overrides', 'fc'],
    """--overrides '{"fc": {"bits": 99}}'""": ['99'],
    """--overrides '{"fcc": {"bits": 3}}'""": ['fcc'],
    """--overrides '{"fc": {"bitz": 3}}'""": ['bitz'],
    f"--overrides '{'['*9999}'": ['overrides'],
}

@pytest.mark.parametrize('options', QUANTIZE, ids=lambda o: o[:60])
def test_quantize_options(capsys, options):
    line = f'gpfq_quantize --weights {DONE} --out quantized --force --quiet --calib 32'
    refused_by_command(capsys, f'{line} {options}', *QUANTIZE[options])

def test_quantize_needs_weights(capsys): refused_by_command(capsys, 'gpfq_quantize --out quantized', '--weights')

def would_run(*_, **__): pytest.fail('accepted: it would have run')

@pytest.fixture
def idle(monkeypatch):
    "No cell and no report is run: to come so far is to be accepted"
    monkeypatch.setattr(sweep, 'Workers', would_run)
    monkeypatch.setattr(sweep, 'execute', would_run)

SWEEP = { # options: words of the answer
    '--study digit': ['digit'],
    '--name a/b': ['a/b'],
    '--name ..': ['..'],
    '--bits 4': ['--bits', '--name'],
    '--resume nowhere': ['nowhere'],
    '--resume train': ['train', 'study.json'],
    '--resume runs/s --bits 2': ['--bits'],
    '--name new --lrs fast': ['fast'],
    '--name new --seeds -1': ['seeds', '-1'],
    '--name new --bits 40': ['bits', '40'],
    '--name new --calib 0': ['calib', '0'],
    '--name new --variants best': ['best'],
    '--name new --data npz:nowhere.npz': ['nowhere.npz'],
    '--name new --data folder:~nobody_here/x': ['~nobody_here'],
    '--name new --model resnet19': ['resnet19'],
    '--name new --device banana': ['banana'],
    '--name new --workers 0': ['workers', '0'],
    '--name new --dask nowhere': ['nowhere', 'tcp://host:8786'],
    '--name new --dask local:0': ['local:0', 'local:N'],
    '--name new --mlflow ftp://host': ['ftp://host', 'http:'],
    '--name new --epochs 0': ['epochs', '0'],
    '--name new --schedule step': ['milestones'],
    '--name new --stem cifar100': ['cifar100'],
    '--name new --normalize mnist': ['mnist'],
    '--name new --root train/result.json': ['train/result.json'],
}

@pytest.mark.parametrize('options', SWEEP)
def test_sweep_options(capsys, idle, options):
    refused_by_command(capsys, f'gpfq_sweep --quiet {options}', *SWEEP[options])

# -- folders to write to

def mine(name): return lambda: write(f'train/{name}', b'mine')

def only_weights():
    for f in Path('train').iterdir():
        if f.name != 'weights.safetensors': f.unlink()

def someones_folder():
    Path('train/weights.safetensors').unlink()
    write('train/weights.safetensors/mine.txt', b'mine')

def broken_row():
    with open('train/log.csv', 'w') as f: f.write('cell,kind,status,weights_sha256,stale\na,b\n')

def pipe():
    os.mkfifo('train/log.csv')

FOLDERS = { # what it is: what makes it, command and options, words of the answer
    'a file':              (None, 'gpfq_train --out train/result.json', ['train/result.json']),
    'below a file':        (None, 'gpfq_train --out train/result.json/x', ['train/result.json/x']),
    'long name':           (None, f'gpfq_train --out {"x"*300}', ['xxx']),
    'another run':         (None, 'gpfq_train --out train --epochs 2', ['train', 'epochs', '--force']),
    'another kind':        (None, 'gpfq_train --out quantized --force', ['quantized', 'quantize cell']),
    'that of the weights': (None, f'gpfq_quantize --weights {DONE} --out train --force', ['train']),
    "somebody's weights":  (only_weights, 'gpfq_train --out train --force', ['weights.safetensors']),
    "somebody's folder":   (someones_folder, 'gpfq_train --out train --force --epochs 2', ['weights.safetensors']),
    "somebody's log":      (mine('log.csv'), 'gpfq_train --out train --force --epochs 2', ['train/log.csv']),
    'a log cut short':     (broken_row, 'gpfq_train --out train --force --epochs 2', ['train/log.csv']),
    'a pipe':              (pipe, 'gpfq_train --out train --force --epochs 2', ['train/log.csv']),
    "another study's":     (None, 'gpfq_sweep --name s', ['runs/s', 'study.json']),
    'no folder to plot':   (None, 'gpfq_plots nowhere', ['nowhere']),
    'nothing to plot':     (None, 'gpfq_plots cache', ['cache']),
    'no study to report':  (None, 'gpfq_report train', ['train', 'study.json']),
    'no study to tell of': (None, 'gpfq_status train', ['train', 'study.json']),
}

@pytest.mark.parametrize('make,line,words', FOLDERS.values(), ids=FOLDERS)
def test_folders(capsys, idle, make, line, words):
    if make: make()
    more = '' if line.startswith(('gpfq_plots', 'gpfq_report', 'gpfq_status')) else ' --quiet'
    refused_by_command(capsys, line + more, *words)

TABLES = { # table and what is wrong with it: the folder it is in, its content
    'history.csv of other columns':    ('train', b'a,b\n1,2\n'),
    'history.csv of no column':        ('train', b''),
    'layers.csv of other columns':     ('quantized', b'a,b\n1,2\n'),
    'histograms.csv of other columns': ('quantized', b'a,b\n1,2\n'),
    'histograms.csv of words':         ('quantized', b'layer,what,x,share\na,b,c,d\n'),
}

@pytest.mark.parametrize('case', TABLES)
def test_plots_of_broken_tables(capsys, case):
    "The other figures are drawn; the table at fault is named, and nothing is shown of it"
    folder,data = TABLES[case]
    name = case.split()[0]
    write(f'plots/{name}', data)
    shutil.copy(f'{folder}/result.json', 'plots')
    assert run(command('gpfq_plots plots')) == 0
    out,err = capsys.readouterr()
    assert err.startswith('gpfq_plots: warning: left out: '), err
    check(err, ['plots', name])
    kinds = {'history.csv': 'training', 'layers.csv': 'std', 'histograms.csv': 'histogram'}
    assert kinds[name] not in out

# -- study.json

PLAN = dict(data='digits', model='tiny', lrs=[1e-3], seeds=[0], bits=[4], calib=[32], calib_seeds=[0],
    variants=dict(default={}), train=dict(epochs=1), quantize={}, templates=None)

def one(**settings): return dict(variants=dict(a=settings))

TEXTS = { # what it is: the text of study.json, words of the answer
    'no JSON':        ('{', ['JSON']),
    'nothing':        ('', ['JSON']),
    'a list':         ('[]', ['list']),
    'null':           ('null', ['NoneType']),
    'brackets':       ('['*100_000, ['nested']),
    'braces':         ('{"a":'*100_000, ['nested']),
    'UTF-16':         ('\ufeff{}', ['JSON']),
    '5000 digits':    ('{"seeds": [' + '1'*5000 + ']}', ['JSON']),
}

PLANS = { # what it is: settings, words of the answer
    'seed of a path':        (dict(seeds=['../../../../victim']), ['seeds', 'victim']),
    'seed 1.5':              (dict(seeds=[1.5]), ['seeds', '1.5']),
    'seed true':             (dict(seeds=[True]), ['seeds', 'True']),
    'seed null':             (dict(seeds=None), ['seeds', 'None']),
    'seed as text':          (dict(seeds=['0']), ['seeds', "'0'"]),
    'seed in a list':        (dict(seeds=[[0]]), ['seeds', '[0]']),
    'seed 10^25':            (dict(seeds=[HUGE]), ['seed', str(HUGE)]),
    'no seed':               (dict(seeds=[]), ['seeds', 'empty']),
    'calib 0':               (dict(calib=[0]), ['calib', '0']),
    'calib -5':              (dict(calib=-5), ['calib', '-5']),
    'bits in a list':        (dict(bits=[[4]]), ['bits', '[4]']),
    'bits of a dictionary':  (dict(bits={'a': 1}), ['bits']),
    'bits NaN':              (dict(bits=[float('nan')]), ['bits', 'nan']),
    'rate fast':             (dict(lrs=['fast']), ['fast']),
    'rate true':             (dict(lrs=[True]), ['True']),
    'unknown model':         (dict(model='resnet19'), ['resnet19']),
    'model in a list':       (dict(model=['tiny']), ["['tiny']"]),
    'unknown data':          (dict(data='cifar'), ['cifar']),
    'data 5':                (dict(data=5), ['5']),
    'unknown setting':       (dict(colour='red'), ['colour']),
    'setting of 100 kB':     ({'x'*100_000: 1}, ['xxx']),
    'no variants':           (dict(variants={}), ['variants']),
    'variants in a list':    (dict(variants=['default']), ['variants', 'default']),
    'variant of a path':     (dict(variants={'../../victim': {}}), ['victim']),
    'variants alike':        (dict(variants=dict(a={}, A={})), ['share the folder']),
    'variant sets weights':  (one(weights='victim'), ['weights']),
    'variant sets out':      (one(out='../../victim'), ['out']),
    'variant sets key':      (one(key='x'), ['key']),
    'unknown method':        (one(method='adaround'), ['adaround']),
    'bits 99 of a variant':  (one(bits=99), ['bits', '99']),
    'no bits of a variant':  (one(bits=[]), ['bits']),
    'no calib of a variant': (one(calib=[]), ['calib']),
    'overrides 5':           (one(overrides=5), ['overrides', '5']),
    'overrides of 99 bits':  (one(overrides={'fc': {'bits': 99}}), ['99']),
    'unknown means':         (one(normalize='mnist'), ['mnist']),
    'unknown stem':          (one(stem='cifar100'), ['cifar100']),
    'train in a list':       (dict(train=[]), ['train', '[]']),
    'training sets lr':      (dict(train=dict(lr=1)), ['train', 'lr']),
    'epochs 0':              (dict(train=dict(epochs=0)), ['epochs', '0']),
    'epochs true':           (dict(train=dict(epochs=True)), ['epochs', 'True']),
    'templates 5':           (dict(templates=5), ['templates=5']),
    'templates missing':     (dict(templates='mine'), ['mine', 'train.ipynb']),
}

@pytest.mark.parametrize('command', ['gpfq_sweep --quiet --resume', 'gpfq_report'])
@pytest.mark.parametrize('text,words', TEXTS.values(), ids=TEXTS)
def test_text_of_study(capsys, idle, command, text, words):
    write('runs/s/study.json', text.encode('utf-16' if text.startswith('\ufeff') else 'utf-8'))
    refused_by_command(capsys, f'{command} runs/s', 'study.json', *words)

@pytest.mark.parametrize('command', ['gpfq_sweep --quiet --resume', 'gpfq_report'])
@pytest.mark.parametrize('settings,words', PLANS.values(), ids=PLANS)
def test_settings_of_study(capsys, idle, command, settings, words):
    write('runs/s/study.json', json.dumps(PLAN | settings).encode())
    refused_by_command(capsys, f'{command} runs/s', *words)

RUNS = { # what it is, that may be reported but not run: settings, words of the answer
    'unknown parameter':     (dict(train=dict(colour='red')), ['colour', 'epochs']),
    'unknown option':        (one(colour='red'), ['colour', 'method']),
    'parameter of 100 kB':   (dict(train={'x'*100_000: 1}), ['xxx']),
    'data not there':        (dict(data='npz:nowhere.npz'), ['nowhere.npz']),
    'data of nobody':        (dict(data='folder:~nobody_here/x'), ['~nobody_here']),
}

@pytest.mark.parametrize('settings,words', RUNS.values(), ids=RUNS)
def test_study_to_run(capsys, idle, settings, words):
    write('runs/s/study.json', json.dumps(PLAN | settings).encode())
    refused_by_command(capsys, 'gpfq_sweep --quiet --resume runs/s', *words)

BOOK = dict(nbformat=4, nbformat_minor=5, metadata={}, cells=[])

NOTEBOOKS = { # what stands in place of a study's own notebooks
    'nothing':           '',
    'a list':            '[]',
    'brackets':          '['*100_000,
    'no parameters':     json.dumps(BOOK),
    'cells that are 5':  json.dumps(BOOK | dict(cells=5)),
    'a cell of no kind': json.dumps(BOOK | dict(cells=[dict(source='')])),
    'format 99':         json.dumps(BOOK | dict(nbformat=99)),
}

@pytest.mark.parametrize('case', NOTEBOOKS)
def test_notebooks_of_study(capsys, idle, case):
    for kind in ('train', 'quantize'): write(f'runs/s/mine/{kind}.ipynb', NOTEBOOKS[case].encode())
    write('runs/s/study.json', json.dumps(PLAN | dict(templates='mine')).encode())
    refused_by_command(capsys, 'gpfq_sweep --quiet --resume runs/s', 'train.ipynb')

# -- the notebooks that papermill runs

CELLS = { # what it is: the notebook, parameters, words of the answer
    'unknown parameter to train with':    ('train', dict(learning_rate=.1), ['learning_rate', 'lr']),
    'seed as text':                       ('train', dict(seed='0'), ['seed', "'0'"]),
    'unknown parameter to quantize with': ('quantize', dict(bitz=4), ['bitz', 'bits']),
    'calib 2.5':                          ('quantize', dict(calib=2.5), ['calib', '2.5']),
}

@pytest.mark.parametrize('kind,params,words', CELLS.values(), ids=CELLS)
def test_papermill(kind, params, words):
    out = dict(train='train', quantize='quantized')[kind]
    given = dict(out=out, progress=False)
    if kind == 'quantize': given['weights'] = DONE
    with nothing_lost(out), within(3*SECONDS), pytest.raises(PapermillExecutionError) as e:
        execute(templates()/f'{kind}.ipynb', 'cell/notebook.ipynb', given | params)
    assert e.value.ename == 'ValueError'
    check(e.value.evalue, words)
