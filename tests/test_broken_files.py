"Packed and ONNX files that are broken: each is refused in one line that names the file."
import json, struct
from pathlib import Path
import onnx, pytest, torch
from onnx import helper
from safetensors.torch import save_file
from gpfq_nb.files import load_tensors, save_tensors
from gpfq_nb.models import create_model, load_model
from gpfq_nb.onnx import OnnxNetwork, export_onnx, onnx_facts
from gpfq_nb.pack import load_packed, save_packed
from gpfq_nb.packed import content_hash
from gpfq_nb.quantize import QuantConfig, quantize_model
from gpfq_nb.weights import save_weights

LONGEST = 600           # characters of a message
FACTS = dict(model='tiny', num_classes=10, in_channels=1)

@pytest.fixture(scope='module')
def good(tmp_path_factory):
    "A ternary network, packed, in ONNX, and in float"
    home = tmp_path_factory.mktemp('good')
    net,images = create_model('tiny', in_channels=1, seed=0).eval(),torch.randn(16, 1, 8, 8)
    res = quantize_model(net, images, QuantConfig(bits=2, levels='symmetric', method='msq'), progress=False)
    save_packed(res, home/'good.safetensors', FACTS)
    save_weights(net, home/'float.safetensors', FACTS)
    for flavor in ('packed', 'qdq'): export_onnx(res, home/f'{flavor}.onnx', flavor, images, FACTS)
    return home

@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

def refused(door, path, words=(), kind=ValueError):
    "Call a function on a file that it must refuse in one line, which names the file"
    with pytest.raises(Exception) as caught: door(path)
    said = str(caught.value)
    assert caught.type is kind, f'{caught.type.__name__}: {said[:LONGEST]}'
    assert len(said.splitlines()) == 1 and len(said) < LONGEST, f'{len(said)} characters: {said[:LONGEST]}'
    assert Path(path).name in said, said
    assert not [w for w in words if w not in said], said

# -- packed files as bytes: what it is: what makes it of a good file's bytes, words of the answer

def start_of_header(data): return 8 + struct.unpack('<Q', data[:8])[0]

PACKED_BYTES = {
    'empty':                    (lambda b: b'', ['empty']),
    'cut in the first bytes':   (lambda b: b[:5], ['whole']),
    'cut in the header':        (lambda b: b[:start_of_header(b)//2], ['whole']),
    'cut behind the header':    (lambda b: b[:start_of_header(b)], ['whole']),
    'cut in the tensors':       (lambda b: b[:(start_of_header(b) + len(b))//2], ['whole']),
    'one byte short':           (lambda b: b[:-1], ['whole']),
    'one byte more':            (lambda b: b + b'\0', ['whole']),
    'one bit flipped':          (lambda b: b[:-1] + bytes([b[-1] ^ 1]), ['another hash']),
    'text':                     (lambda b: b'dear sir\n'*99, ['whole']),
    'zeros':                    (lambda b: bytes(len(b)), ['whole']),
    'header of 2^60 bytes':     (lambda b: struct.pack('<Q', 2**60) + b[8:], ['whole']),
    'header that is no JSON':   (lambda b: b[:8] + b'x'*(len(b) - 8), ['whole'])}

@pytest.mark.parametrize('what', PACKED_BYTES)
def test_packed_bytes(good, what):
    make,words = PACKED_BYTES[what]
    Path('bad.safetensors').write_bytes(make((good/'good.safetensors').read_bytes()))
    for door in (load_packed, load_model): refused(door, 'bad.safetensors', words)

# -- packed files with a right hash: what it is: what changes tensors and facts, words of the answer

def remade(good, change, rehash=True):
    "A packed file with other contents, and the hash that belongs to them"
    tensors,meta = load_tensors(good/'good.safetensors')
    packed = meta['packed']
    change(tensors, packed, meta)
    told = meta['packed']
    hashed = ('format', 'version', 'grids', 'same', 'counters')
    if rehash and isinstance(told, dict) and told is packed: told['sha256'] = content_hash(tensors, {k: told.get(k) for k in hashed})
    save_tensors('bad.safetensors', tensors, meta)

def fact(key, value): return lambda t,p,m: p.update({key: value})
def meta(key, value): return lambda t,p,m: m.update({key: value})
def grid(**facts): return lambda t,p,m: p['grids']['conv1'].update(facts)
def tensor(name, make): return lambda t,p,m: t.update({name: make(t.get(name))})
def without(name): return lambda t,p,m: t.pop(name)

PACKED = {
    'packed is a list':         (meta('packed', []), ['packed']),
    'packed is empty':          (meta('packed', {}), ['version']),
    'later version':            (fact('version', 2), ['version 2', 'install']),
    'version 0':                (fact('version', 0), ['version 0']),
    'version true':             (fact('version', True), ['version True']),
    'version as text':          (fact('version', '1'), ['version']),
    'grids are a list':         (fact('grids', []), ['grids']),
    'same is a text':           (fact('same', 'x'), ['same']),
    'same as nothing':          (fact('same', dict(x='nowhere')), ['nowhere']),
    'same as a number':         (fact('same', dict(x=3)), ['same']),
    'same as a list':           (fact('same', dict(x=[])), ['same']),
    'counter of half':          (fact('counters', dict(x=.5)), ['counters']),
    'counter of 2^70':          (fact('counters', dict(x=2**70)), ['counters']),
    'no grids':                 (fact('grids', {}), ['do not fit']),
    'grid is a number':         (fact('grids', dict(conv1=3)), ['conv1']),
    'view of three':            (grid(view=[8, 1, 9]), ['conv1', 'view']),
    'negative view':            (grid(view=[-8, 1, 1, 9]), ['conv1', 'view']),
    'huge view':                (grid(view=[2**62, 1, 1, 2**62]), ['conv1']),
    'view of another size':     (grid(view=[2, 1, 1, 9]), ['conv1']),
    'negative start':           (grid(start=-1), ['conv1', 'start']),
    'start behind the end':     (grid(start=5), ['conv1']),
    'start of 2^70':            (grid(start=2**70), ['conv1']),
    'lowest code above 0':      (grid(lo=1), ['conv1', 'lo']),
    'a grid of one':            (grid(lo=0, hi=0), ['conv1']),
    'highest code of 2^70':     (grid(hi=2**70), ['conv1', 'hi']),
    'more levels than words':   (grid(hi=2**24 - 1), ['conv1']),
    'another number of levels': (grid(hi=5), ['conv1']),
    'a gap of text':            (grid(gap='wide'), ['conv1', 'gap']),
    'whole numbers':            (grid(dtype='int8'), ['conv1', 'dtype']),
    'type that is a list':      (grid(dtype=[]), ['conv1', 'dtype']),
    'name of nothing':          (grid(name='nowhere'), ['conv1', 'nowhere_shape']),
    'parameter of nothing':     (grid(param='nowhere'), ['do not fit']),
    'codes are missing':        (without('conv1.weight_packed'), ['conv1', 'missing']),
    'steps are missing':        (without('conv1.weight_scale'), ['conv1', 'missing']),
    'shape is missing':         (without('conv1.weight_shape'), ['conv1', 'missing']),
    'bias is missing':          (without('fc.bias'), ['do not fit', 'fc.bias']),
    'codes beyond the levels':  (tensor('conv1.weight_packed', lambda v: v.fill_(255)), ['conv1', 'beyond 2']),
    'too few codes':            (tensor('conv1.weight_packed', lambda v: v[:-1]), ['conv1', 'bytes']),
    'codes in two rows':        (tensor('conv1.weight_packed', lambda v: v.view(1, -1)), ['conv1']),
    'codes in float':           (tensor('conv1.weight_packed', lambda v: v.float()), ['conv1', 'float32']),
    'too few steps':            (tensor('conv1.weight_scale', lambda v: v[:3]), ['conv1']),
    'no steps':                 (tensor('conv1.weight_scale', lambda v: v[:0]), ['conv1']),
    'steps in three dimensions': (tensor('conv1.weight_scale', lambda v: v[..., None].expand(-1, 2, 9)), ['conv1']),
    'steps in whole numbers':   (tensor('conv1.weight_scale', lambda v: v.long()), ['conv1']),
    'a step that is no number': (tensor('conv1.weight_scale', lambda v: v*float('nan')), ['conv1']),
    'steps of zero':            (tensor('conv1.weight_scale', lambda v: v*0), ['conv1']),
    'another shape':            (tensor('conv1.weight_shape', lambda v: v + 1), ['conv1']),
    'negative sizes':           (tensor('conv1.weight_shape', lambda v: -v), ['conv1']),
    'sizes of 2^40':            (tensor('conv1.weight_shape', lambda v: v*0 + 2**40), ['conv1']),
    'sizes of 2^12':            (tensor('conv1.weight_shape', lambda v: v*0 + 2**12), ['conv1']),
    'sizes in float':           (tensor('conv1.weight_shape', lambda v: v + .5), ['conv1']),
    'a size alone':             (tensor('conv1.weight_shape', lambda v: v[0]), ['conv1']),
    'no sizes':                 (tensor('conv1.weight_shape', lambda v: v[:0]), ['conv1']),
    'network of nobody':        (meta('model', 'tinny'), ['tinny']),
    'network is a number':      (meta('model', 3), ['model']),
    'another network':          (meta('model', 'resnet20'), ['do not fit']),
    'other outputs':            (meta('num_classes', 7), ['do not fit']),
    'inputs of nothing':        (meta('inputs', dict(nowhere=[.1, 0, 3])), ['nowhere']),
    'inputs that are none':     (meta('inputs', dict(conv1=[.1, 3])), ['inputs']),
    'no network':               (lambda t,p,m: m.pop('model'), ['which network'])}

@pytest.mark.parametrize('what', PACKED)
def test_packed_contents(good, what):
    change,words = PACKED[what]
    remade(good, change)
    for door in (load_packed, load_model): refused(door, 'bad.safetensors', words)

@pytest.mark.parametrize('change', [fact('sha256', '0'*64), fact('sha256', None), grid(lo=-2), without('fc.bias')])
def test_wrong_hash(good, change):
    remade(good, change, rehash=False)
    for door in (load_packed, load_model): refused(door, 'bad.safetensors', ['another hash'])

@pytest.mark.parametrize('header', ['{', '[]', '3', 'null', '"packed"', '['*100_000, '{"packed": ' + '['*90_000 + '}'])
def test_header(good, header):
    tensors,_ = load_tensors(good/'good.safetensors')
    save_file(tensors, 'bad.safetensors', dict(gpfq_nb=header))
    for door in (load_packed, load_model): refused(door, 'bad.safetensors', ['metadata'])

def test_not_packed(good):
    refused(load_packed, good/'float.safetensors', ['not a packed network'])
    save_file(dict(x=torch.ones(3)), 'foreign.safetensors')
    refused(load_packed, 'foreign.safetensors', ['not a packed network'])
    refused(load_model, 'foreign.safetensors', ['which network'])
    for door in (load_packed, load_model): refused(door, good/'packed.onnx')

@pytest.mark.parametrize('door', [load_packed, load_model, onnx_facts, OnnxNetwork])
def test_no_file(door):
    "Of files that are not there the system's own kinds of errors tell"
    refused(door, 'nowhere.safetensors', kind=FileNotFoundError)
    Path('folder.onnx').mkdir()
    refused(door, 'folder.onnx', kind=IsADirectoryError)

# -- ONNX files

ONNX_BYTES = {
    'cut in the first bytes':   lambda b: b[:5],
    'cut in half':              lambda b: b[:len(b)//2],
    'cut at the end':           lambda b: b[:-100],
    'one byte short':           lambda b: b[:-1],
    'text':                     lambda b: b'dear sir\n'*99,
    'zeros':                    lambda b: bytes(len(b)),
    'a safetensors file':       lambda b: struct.pack('<Q', 2) + b'{}'}

@pytest.mark.parametrize('what', ONNX_BYTES)
def test_onnx_bytes(good, what):
    Path('bad.onnx').write_bytes(ONNX_BYTES[what]((good/'packed.onnx').read_bytes()))
    refused(onnx_facts, 'bad.onnx', ['not a whole ONNX file'])
    refused(OnnxNetwork, 'bad.onnx', ['cannot load'])

def test_empty_onnx():
    Path('bad.onnx').write_bytes(b'')
    refused(onnx_facts, 'bad.onnx')
    refused(OnnxNetwork, 'bad.onnx', ['cannot load'])

def altered(good, change, flavor='packed'):
    "An ONNX file that was changed"
    model = onnx.load(good/f'{flavor}.onnx')
    change(model)
    Path('bad.onnx').write_bytes(model.SerializeToString())

def entry(value):
    "Another entry in the metadata"
    def change(model): next(p for p in model.metadata_props if p.key == 'gpfq_nb').value = value
    return change

def no_metadata(model): del model.metadata_props[:]

TOLD = dict(format='gpfq_nb onnx', version=1)
METADATA = {
    'none':             (no_metadata, ['no metadata of gpfq_nb']),
    'torn':             (entry('{"format": "gpfq'), ['is no JSON']),
    'empty':            (entry(''), ['is no JSON']),
    'a list':           (entry('[]'), ['its metadata is']),
    'nested too deep':  (entry('['*100_000), ['is no JSON']),
    'two lines':        (entry('{\n"format"\n'), ['is no JSON']),
    'no format':        (entry('{"version": 1}'), ['its metadata is']),
    'another format':   (entry(json.dumps(TOLD | dict(format='gpfq_nb packed'))), ['its metadata is']),
    'later version':    (entry(json.dumps(TOLD | dict(version=2))), ['version 2']),
    'version as text':  (entry(json.dumps(TOLD | dict(version='1\n'))), ['version']),
    'version true':     (entry(json.dumps(TOLD | dict(version=True))), ['version True'])}

@pytest.mark.parametrize('what', METADATA)
def test_onnx_metadata(good, what):
    change,words = METADATA[what]
    altered(good, change)
    refused(onnx_facts, 'bad.onnx', words)

def no_constants(model): del model.graph.initializer[:]
def no_nodes(model): del model.graph.node[:]
def later_opset(model): model.opset_import[0].version = 999
def later_ir(model): model.ir_version = 999
def codes_of(model): return next(t for t in model.graph.initializer if t.name.endswith(('_packed', '_quantized')))
def short_tensor(model): codes_of(model).raw_data = codes_of(model).raw_data[:-1]
def negative_sizes(model): codes_of(model).dims[0] *= -1
def strange_node(model): model.graph.node[0].op_type = 'Unpack'
def nodes_backwards(model): model.graph.node[0].input[0] = model.graph.node[-1].output[0]
def same_name_twice(model): model.graph.node.append(model.graph.node[0])
def no_type(model): codes_of(model).data_type = 0
def strange_output(model): model.graph.output.append(helper.make_tensor_value_info('nowhere', 1, [1]))
def data_elsewhere(model):
    "Codes in a file beside it, which is not there"
    t = codes_of(model)
    t.ClearField('raw_data')
    t.data_location = onnx.TensorProto.EXTERNAL
    place = t.external_data.add()
    place.key,place.value = 'location','nowhere.bin'

GRAPHS = (no_constants, no_nodes, later_opset, later_ir, short_tensor, negative_sizes, strange_node, nodes_backwards,
    same_name_twice, no_type, strange_output, data_elsewhere)

@pytest.mark.parametrize('flavor', ['packed', 'qdq'])
@pytest.mark.parametrize('change', GRAPHS, ids=lambda f: f.__name__)
def test_onnx_graph(good, change, flavor):
    altered(good, change, flavor)
    refused(OnnxNetwork, 'bad.onnx', ['cannot load'])
    if change is data_elsewhere: refused(onnx_facts, 'bad.onnx', ['in another file'])
