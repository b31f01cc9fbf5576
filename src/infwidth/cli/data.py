"""`infwidth data`: make the corpus, the vocabulary and the tokens, and look at a batch."""

import argparse
from pathlib import Path

from infwidth.cli.options import settings_options
from infwidth.config.settings import Settings
from infwidth.layout import Layout


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    parser = commands.add_parser("data", help="corpus, vocabulary, tokens; show a batch")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    corpus = actions.add_parser("corpus", help="prepare the corpus as a TFDS dataset")
    corpus.set_defaults(run=_corpus)

    vocabulary = actions.add_parser("vocabulary", help="make the vocabulary")
    vocabulary.set_defaults(run=_vocabulary)

    tokenize = actions.add_parser("tokenize", help="turn the corpus into arrays of tokens")
    tokenize.add_argument("--vocabulary", type=Path, help="what `data vocabulary` made")
    tokenize.set_defaults(run=_tokenize)

    for action in (vocabulary, tokenize):
        action.add_argument("--corpus", type=Path, help="what `data corpus` made")
    for action in (corpus, vocabulary, tokenize):
        action.add_argument("--out", type=Path, help="folder to make")

    show = actions.add_parser("show", help="print the very batch that training sees, as text")
    show.add_argument("--tokens", type=Path, help="what `data tokenize` made")
    show.add_argument("--step", type=_natural, default=0, help="training step, from 0 (default 0)")
    show.add_argument("--seed", type=_natural, default=0, help="seed of the run (default 0)")
    show.add_argument("--rows", type=_natural, help="print only that many rows")
    show.set_defaults(run=_show)

    for name, action in actions.choices.items():
        settings_options(action, f"data {name}")


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


_natural.__name__ = "whole number of 0 or more"


def _corpus(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.corpus import prepare_corpus

    out = args.out or layout.corpus
    manifest = prepare_corpus(settings.data, out)
    counts = ", ".join(f"{len(names)} {split}" for split, names in manifest["documents"].items())
    print(f"{out}: documents: {counts}; {manifest['empty_documents']} empty ones left out")


def _vocabulary(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.vocabulary import train_vocabulary

    out = args.out or layout.vocabulary
    description = train_vocabulary(settings.data, args.corpus or layout.corpus, out)
    print(f"{out}: {description['kind']}, {description['size']} tokens")


def _tokenize(args: argparse.Namespace, _: Settings, layout: Layout) -> None:
    from infwidth.data.tokens import tokenize

    out = args.out or layout.tokens
    manifest = tokenize(args.corpus or layout.corpus, args.vocabulary or layout.vocabulary, out)
    counts = ", ".join(f"{count} {split}" for split, count in manifest["tokens"].items())
    print(f"{out}: tokens: {counts}")


def _show(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.show import describe_batch
    from infwidth.data.tokens import TokenDataset

    dataset = TokenDataset.open(args.tokens or layout.tokens)
    context, batch_size = settings.model.context, settings.training.batch_size
    for line in describe_batch(dataset, context, batch_size, args.seed, args.step, args.rows):
        print(line)
