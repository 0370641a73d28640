"""No source of this repository can run code that came as data (docs/reference/hazards.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path
import subprocess

import pytest

ROOT = Path(__file__).parents[3]
#: Modules that make objects, and so code, out of bytes.
BANNED_MODULES = frozenset(
    {'_pickle', 'cPickle', 'cloudpickle', 'dill', 'joblib', 'marshal', 'shelve'}
    | {'jsonpickle', 'pickletools', 'pickle5'}
)
#: What may be used of pickle: the names of its errors, in product code.
PICKLE_ERRORS = frozenset({'PickleError', 'UnpicklingError'})
#: Calls that may never stand anywhere, by the last parts of their dotted name.
BANNED_CALLS = frozenset(
    {'os.system', 'os.popen', 'pandas.read_pickle', 'pd.read_pickle', 'torch.export.load'}
    | {'yaml.load', 'yaml.load_all', 'yaml.full_load', 'yaml.full_load_all'}
    | {'yaml.unsafe_load', 'yaml.unsafe_load_all', 'torch.package.PackageImporter'}
    | {'subprocess.getoutput', 'subprocess.getstatusoutput', 'hub.load'}
)
BANNED_BUILTINS = frozenset({'eval', 'exec', '__import__'})
BANNED_NAMES = frozenset(
    {'UnsafeLoader', 'FullLoader', 'Loader', 'CLoader', 'CUnsafeLoader', 'CFullLoader'}
)
#: Keyword -> the only constant that it may have.
KEYWORDS = {'shell': False, 'trust_remote_code': False, 'allow_pickle': False}


def sources() -> list[Path]:
    """Every Python file of the repository: what git tracks, and what it would."""
    listed = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard', '-z', '*.py'],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    names = listed.stdout.decode().split('\0')[:-1]
    if listed.returncode == 0 and names:
        return [path for name in names if (path := ROOT / name).is_file()]
    # A copy without git, as in a container.
    return [
        path
        for folder in ('src', 'requirements', 'launch', 'docs')
        for path in (ROOT / folder).rglob('*.py')
    ]


def violations(code: str, test: bool = False) -> Iterator[str]:
    """Yield line and reason of everything that is banned; a test may write hostile files."""
    tree = ast.parse(code)
    harmless = PICKLE_ERRORS | ({'dumps'} if test else set())
    fine = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in harmless
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == 'pickle' and id(node) not in fine:
            yield f'{node.lineno}: uses pickle for more than {sorted(harmless)}'
        for reason in _reasons(node):
            yield f'{node.lineno}: {reason}'


def _reasons(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        roots = {alias.name.split('.')[0] for alias in node.names}
        yield from (f'imports {name}' for name in sorted(roots & BANNED_MODULES))
        if any(alias.name == 'pickle' and alias.asname for alias in node.names):
            yield 'imports pickle under another name'
    elif isinstance(node, ast.ImportFrom):
        root = (node.module or '').split('.')[0]
        names = {alias.name for alias in node.names}
        if root in BANNED_MODULES or (root == 'pickle' and not names <= PICKLE_ERRORS):
            yield f'imports {root}'
        for alias in node.names:
            name = f'{node.module}.{alias.name}'
            if _ends(name, BANNED_CALLS | {'torch.load', 'builtins.eval', 'builtins.exec'}):
                yield f'imports {name}: call it by its full name, where this test sees it'
            if root == 'yaml' and alias.name in BANNED_NAMES:
                yield f'imports {name}'
    elif isinstance(node, ast.Attribute):
        if _dotted(node) in {f'yaml.{name}' for name in BANNED_NAMES}:
            yield f'uses {_dotted(node)}'
    elif isinstance(node, ast.Call):
        yield from _call_reasons(node)


def _call_reasons(call: ast.Call) -> Iterator[str]:
    name = _dotted(call.func)
    if name in BANNED_BUILTINS or name in {f'builtins.{word}' for word in BANNED_BUILTINS}:
        yield f'calls {name}'
    if _ends(name, BANNED_CALLS):
        yield f'calls {name}'
    if _ends(name, {'importlib.import_module'}) and _text(call.args) in BANNED_MODULES | {
        'pickle'
    }:
        yield f'imports {_text(call.args)}'
    if _ends(name, {'torch.load'}) and not any(
        keyword.arg == 'weights_only' and _is(keyword.value, True) for keyword in call.keywords
    ):
        yield 'torch.load without weights_only=True'
    for keyword in call.keywords:
        allowed = KEYWORDS.get(keyword.arg or '')
        if allowed is not None and not _is(keyword.value, allowed):
            yield f'{keyword.arg} is not {allowed}'


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f'{_dotted(node.value)}.{node.attr}'
    return node.id if isinstance(node, ast.Name) else ''


def _ends(name: str, banned: set[str] | frozenset[str]) -> bool:
    return any(name == one or name.endswith(f'.{one}') for one in banned)


def _is(node: ast.AST, wanted: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is wanted


def _text(arguments: list[ast.expr]) -> str:
    first = arguments[0] if arguments else None
    return str(first.value) if isinstance(first, ast.Constant) else ''


def test_every_source_of_the_repository_is_clean():
    files = sources()
    assert len(files) > 100
    assert ROOT / 'conftest.py' in files or not (ROOT / '.git').exists()
    found = [
        f'{path.relative_to(ROOT)}:{violation}'
        for path in files
        for violation in violations(path.read_text(encoding='utf-8'), path.parent.name == 'test')
    ]
    assert found == []


@pytest.mark.parametrize(
    'code',
    [
        'pickle.loads(data)',
        'import pickle\nread = pickle.Unpickler',
        'import pickle\ngetattr(pickle, name)',
        'pickle.dumps(data)',
        'torch.save(data, path, pickle_module=pickle)',
        'import torch, pickle as p',
        'from pickle import loads',
        'def f():\n    import cloudpickle',
        'import dill.source',
        "importlib.import_module('pickle')",
        "__import__('os')",
        "torch.load('x')",
        "torch.load('x', weights_only=False)",
        "torch.load('x', weights_only=flag)",
        "torch.load('x', **options)",
        'from torch import load',
        "torch.export.load('x.pt2')",
        "torch.hub.load('a', 'b')",
        'yaml.load(text)',
        'yaml.load(text, Loader=yaml.SafeLoader)',
        'yaml.unsafe_load(text)',
        'from yaml import load',
        'from yaml import UnsafeLoader',
        'class L(yaml.FullLoader): ...',
        'eval(text)',
        'exec(text)',
        "builtins.eval('1')",
        "subprocess.run('ls', shell=True)",
        'subprocess.run(command, shell=flag)',
        "os.system('ls')",
        'AutoModel.from_pretrained(name, trust_remote_code=True)',
        'np.load(path, allow_pickle=True)',
        'pd.read_pickle(path)',
    ],
)
def test_each_of_these_would_be_found(code):
    assert list(violations(code)) != []


@pytest.mark.parametrize(
    'code',
    [
        'model.eval()',
        'import pickle\ntry: ...\nexcept pickle.UnpicklingError: ...',
        'from pickle import UnpicklingError',
        "torch.load('x', weights_only=True)",
        'yaml.safe_load(text)',
        'class L(yaml.SafeLoader): ...',
        "subprocess.run(['ls'], shell=False)",
        'np.load(path, allow_pickle=False)',
        'loader.load(path)',
        "'import pickle'",
        'os.execv(path, words)',
        'executor.exec_module(module)',
    ],
)
def test_none_of_these_is_a_false_alarm(code):
    assert list(violations(code)) == []
