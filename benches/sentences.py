"""What everything is measured on: real sentences, and texts of every length."""

import csv
import hashlib
import math
import random
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

BUILT_IN = Path("src/cli/bench/sentences.txt")
COUNT = 2048
LIMIT = 256
"""Tokens that all-MiniLM-L6-v2 takes; longer sentences would be cut."""


@dataclass
class Sentences:
    source: str
    texts: list[str]
    ids: list[list[int]]
    """Token ids, special ones included."""

    @property
    def tokens(self) -> int:
        return sum(map(len, self.ids))

    def facts(self) -> dict:
        joined = "\n".join(self.texts).encode()
        return {
            "source": self.source,
            "sentences": len(self.texts),
            "tokens": self.tokens,
            "mean_tokens": self.tokens / len(self.texts),
            "longest": max(map(len, self.ids)),
            "sha256": hashlib.sha256(joined).hexdigest(),
        }

    def write(self, file: Path) -> Path:
        file.write_text("\n".join(self.texts) + "\n", encoding="utf-8")
        return file


def tokenizer(model: Path) -> Tokenizer:
    """The model's own, without the padding and truncation that upstream files carry."""
    loaded = Tokenizer.from_file(str(model / "tokenizer.json"))
    loaded.no_padding()
    loaded.enable_truncation(LIMIT)
    return loaded


def read(file: Path | None, model: Path) -> Sentences:
    """`COUNT` sentences: a seeded sample of a file's lines, or of a CSV's column `text`; without a
    file, built-in text cut to the lengths of real sentences."""
    drawn = random.Random(0)
    if file is None:
        texts = composed(drawn)
        source = "composed of built-in text"
    else:
        lines = texts_of(file)
        if not lines:
            raise SystemExit(f"{file} has no sentences")
        texts = drawn.sample(lines, COUNT) if len(lines) > COUNT else lines
        source = file.name
    return encoded(source, texts, model)


def lengths(model: Path) -> Sentences:
    """Texts of 1 to `LIMIT` tokens, in a seeded order."""
    load = tokenizer(model)
    words = BUILT_IN.read_text(encoding="utf-8").split()
    texts = []
    for length in range(3, LIMIT + 1):
        start, end = length * 7 % len(words), 1
        text = ""
        while len(load.encode(text).ids) < length and end <= LIMIT:
            text = " ".join(words[(start + at) % len(words)] for at in range(end))
            end += 1
        texts.append(text)
    random.Random(1).shuffle(texts)
    return encoded("built-in text of every length", texts, model)


def of_length(tokens: int, sentences: Sentences) -> Sentences:
    """The sentences with so many tokens, or else those nearest to it."""
    nearest = min(map(len, sentences.ids), key=lambda length: abs(length - tokens))
    chosen = [at for at, ids in enumerate(sentences.ids) if len(ids) == nearest]
    return Sentences(
        f"{sentences.source}, {nearest} tokens",
        [sentences.texts[at] for at in chosen],
        [sentences.ids[at] for at in chosen],
    )


def texts_of(file: Path) -> list[str]:
    with file.open(encoding="utf-8", newline="") as opened:
        if file.suffix == ".csv":
            rows = [row["text"] for row in csv.DictReader(opened)]
        else:
            rows = opened.read().splitlines()
    return [" ".join(row.split()) for row in rows if row.strip()]


def composed(drawn: random.Random) -> list[str]:
    """Runs of words whose numbers are log-normal, as those of sentences are: median 16."""
    words = BUILT_IN.read_text(encoding="utf-8").split()
    texts = []
    for _ in range(COUNT):
        length = max(1, round(math.exp(drawn.gauss(math.log(16), 0.668))))
        start = drawn.randrange(len(words))
        texts.append(" ".join(words[(start + at) % len(words)] for at in range(length)))
    return texts


def encoded(source: str, texts: list[str], model: Path) -> Sentences:
    ids = [encoding.ids for encoding in tokenizer(model).encode_batch(texts)]
    return Sentences(source, texts, ids)
