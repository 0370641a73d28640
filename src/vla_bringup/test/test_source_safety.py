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
#: What may stand nowhere, called or handed on, by the last parts of its dotted name.
BANNED = frozenset(
    {'os.system', 'os.popen', 'pandas.read_pickle', 'pd.read_pickle', 'torch.export.load'}
    | {'asyncio.create_subprocess_shell', 'runpy.run_path', 'runpy.run_module', 'torch.jit.load'}
    | {'yaml.load', 'yaml.load_all', 'yaml.full_load', 'yaml.full_load_all'}
    | {'yaml.unsafe_load', 'yaml.unsafe_load_all', 'torch.package.PackageImporter'}
    | {'subprocess.getoutput', 'subprocess.getstatusoutput', 'hub.load'}
)
BANNED_BUILTINS = frozenset({'eval', 'exec', '__import__'})
#: What one file may use all the same, and why.
EXCEPTIONS = {
    # A variant of `vla-learn optimise`, never on a robot: the file that it has written itself.
    'src/vla_learning/vla_learning/optimise/traced.py': frozenset({'torch.jit.load'}),
}
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


def violations(
    code: str, test: bool = False, excepted: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Yield line and reason of everything that is banned.

    Args:
        code: of one file.
        test: a test may write hostile files.
        excepted: what of BANNED this file may use.
    """
    tree = ast.parse(code)
    harmless = PICKLE_ERRORS | ({'dumps'} if test else set())
    fine = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in harmless
    }
    names = dict(_imported(tree))
    fine |= {
        id(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and any(_is_keyword(one, 'weights_only', True) for one in node.keywords)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == 'pickle' and id(node) not in fine:
            yield f'{node.lineno}: uses pickle for more than {sorted(harmless)}'
        name = _dotted(node, names)
        if _ends(name, {'torch.load'}) and id(node) not in fine:
            yield f'{node.lineno}: torch.load without weights_only=True'
        for reason in _reasons(node, name, names, excepted):
            yield f'{node.lineno}: {reason}'


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield every name that an import makes, and what it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split('.')[0]
                yield (alias.asname, alias.name) if alias.asname else (root, root)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f'{node.module}.{alias.name}'


def _reasons(
    node: ast.AST, name: str, names: dict[str, str], excepted: frozenset[str]
) -> Iterator[str]:
    if isinstance(node, ast.Import):
        roots = {alias.name.split('.')[0] for alias in node.names}
        yield from (f'imports {name}' for name in sorted(roots & BANNED_MODULES))
        if any(alias.name == 'pickle' and alias.asname for alias in node.names):
            yield 'imports pickle under another name'
    elif isinstance(node, ast.ImportFrom):
        root = (node.module or '').split('.')[0]
        taken = {alias.name for alias in node.names}
        if root in BANNED_MODULES or (root == 'pickle' and not taken <= PICKLE_ERRORS):
            yield f'imports {root}'
        for alias in node.names:
            whole = f'{node.module}.{alias.name}'
            if _is_banned(whole) or _ends(whole, {'torch.load'}):
                yield f'imports {whole}: call it by its full name, where this test sees it'
    elif _is_banned(name) and name not in excepted:
        yield f'uses {name}'
    if isinstance(node, ast.Call):
        yield from _call_reasons(node, _dotted(node.func, names))


def _is_banned(name: str) -> bool:
    root, _, last = name.rpartition('.')
    return (
        _ends(name, BANNED)
        or name.removeprefix('builtins.') in BANNED_BUILTINS
        or (root.split('.')[0] == 'yaml' and last in BANNED_NAMES)
    )


def _call_reasons(call: ast.Call, name: str) -> Iterator[str]:
    if _ends(name, {'importlib.import_module'}) and _text(call.args) in BANNED_MODULES | {
        'pickle'
    }:
        yield f'imports {_text(call.args)}'
    # What stands in a dictionary or at a place is not seen below.
    hidden = any(keyword.arg is None for keyword in call.keywords)
    if hidden and name.split('.')[0] == 'subprocess':
        yield f'{name} with keywords that nobody sees'
    starred = any(isinstance(argument, ast.Starred) for argument in call.args)
    if name in ('numpy.load', 'np.load') and (hidden or starred or len(call.args) > 2):
        yield 'allow_pickle may be given by its place'
    for keyword in call.keywords:
        if keyword.arg in KEYWORDS and not _is_keyword(
            keyword, keyword.arg, KEYWORDS[keyword.arg]
        ):
            yield f'{keyword.arg} is not {KEYWORDS[keyword.arg]}'


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    """Return the whole name of what a node stands for, by the imports of its file."""
    if isinstance(node, ast.Attribute):
        return f'{_dotted(node.value, names)}.{node.attr}'
    if isinstance(node, ast.Call) and _dotted(node.func, names) == 'getattr':
        return f'{_dotted(node.args[0], names)}.{_text(node.args[1:])}'
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ''


def _ends(name: str, banned: set[str] | frozenset[str]) -> bool:
    return any(name == one or name.endswith(f'.{one}') for one in banned)


def _is_keyword(keyword: ast.keyword, name: str, wanted: bool) -> bool:
    value = keyword.value
    return keyword.arg == name and isinstance(value, ast.Constant) and value.value is wanted


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
        for violation in violations(
            path.read_text(encoding='utf-8'),
            path.parent.name == 'test',
            EXCEPTIONS.get(path.relative_to(ROOT).as_posix(), frozenset()),
        )
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
        'import pandas as p\np.read_pickle(path)',
        'import yaml as y\ny.load(text, Loader=y.Loader)',
        'import yaml as y\nclass L(y.FullLoader): ...',
        'import yaml.loader\nyaml.loader.UnsafeLoader',
        'read = yaml.load',
        "import torch as t\nt.load('x')",
        "import torch.export as e\ne.load('m.pt2')",
        "read = torch.load\nread('x')",
        'partial(torch.load, weights_only=False)',
        'partial(torch.load, weights_only=True)',
        "getattr(torch, 'load')('x')",
        "torch.jit.load('m.pt')",
        'np.load(path, None, True)',
        'import numpy as n\nn.load(path, None, True)',
        'np.load(path, **options)',
        'np.load(*words)',
        "subprocess.run('ls', **{'shell': True})",
        "import subprocess as sp\nsp.getoutput('ls')",
        "from subprocess import run\nrun('ls', **options)",
        "import os as o\no.system('ls')",
        "import builtins as b\nb.eval('1')",
        'run = eval',
        'map(eval, texts)',
        'asyncio.create_subprocess_shell(text)',
        'runpy.run_path(path)',
    ],
)
def test_each_of_these_would_be_found(code):
    assert list(violations(code)) != []


def test_an_exception_holds_for_what_it_names_alone():
    excepted = frozenset({'torch.jit.load'})
    assert list(violations('torch.jit.load(path)', excepted=excepted)) == []
    assert list(violations('os.system(text)', excepted=excepted)) != []


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
        "np.load(path, mmap_mode='r')",
        "import torch as t\nt.load('x', weights_only=True)",
        "subprocess.run(['ls'], env={**os.environ, 'A': 'b'})",
        "getattr(torch, 'float32')",
        'loader.load(path)',
        "'import pickle'",
        'os.execv(path, words)',
        'executor.exec_module(module)',
    ],
)
def test_none_of_these_is_a_false_alarm(code):
    assert list(violations(code)) == []
