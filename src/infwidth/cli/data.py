# SPDX-License-Identifier: Apache-2.0
"""`infwidth data`: make the corpus, the vocabulary and the tokens, and look at a batch."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from infwidth.cli.parser import settings_options
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.layout import Layout
from infwidth.stored import write_json

if TYPE_CHECKING:
    from infwidth.data.c4_tokens import ShardMaker


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    parser = commands.add_parser("data", help="make corpus, vocabulary and tokens; show a batch")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    corpus = actions.add_parser("corpus", help="prepare the corpus as a TFDS dataset")
    vocabulary = actions.add_parser("vocabulary", help="make the vocabulary")
    tokenize = actions.add_parser("tokenize", help="turn the corpus into arrays of tokens")
    shard = actions.add_parser("shard", help="make the tokens of one shard of C4")
    shard.add_argument("name", help="the shard, as in train-00003 or validation-00000")
    for action in (tokenize, shard):
        action.add_argument("--vocabulary", type=Path, help="what `data vocabulary` made")
    shard.add_argument(
        "--stamp", type=Path, help="file to write once they are there (default: none)"
    )
    for action in (shard, tokenize):
        action.add_argument("--shards", type=Path, help="folder of the shards' tokens (C4 only)")
    for action in (vocabulary, shard, tokenize):
        action.add_argument("--corpus", type=Path, help="what `data corpus` made")
    for action in (corpus, vocabulary, tokenize):
        action.add_argument("--out", type=Path, help="folder to make")

    show = actions.add_parser("show", help="print the very batch that training sees, as text")
    show.add_argument("--tokens", type=Path, help="what `data tokenize` made")
    show.add_argument("--step", type=_natural, default=0, help="training step, from 0")
    show.add_argument("--seed", type=_natural, default=0, help="seed of the run")
    show.add_argument("--rows", type=_natural, help="print only that many rows (default: all)")

    runs = (_corpus, _vocabulary, _tokenize, _shard, _show)
    for (name, action), run in zip(actions.choices.items(), runs, strict=True):
        settings_options(action, f"data {name}", run)


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


_natural.__name__ = "whole number of 0 or more"


def _corpus(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    out = args.out or layout.corpus
    if settings.data.corpus == "c4":
        from infwidth.data.c4 import find_shards, write_catalogue

        files = find_shards(settings.data)
        write_catalogue(files, settings.data, out)
        print(f"{out}: {len(files.train)} training and {len(files.validation)} validation shards")
        return

    from infwidth.data.corpus import prepare_corpus

    manifest = prepare_corpus(settings.data, out)
    counts = ", ".join(f"{len(names)} {split}" for split, names in manifest["documents"].items())
    print(f"{out}: documents: {counts}; {manifest['empty_documents']} empty ones left out")


def _vocabulary(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.vocabulary import train_vocabulary

    data, out = settings.data, args.out or layout.vocabulary

    def c4_sample() -> Iterable[str]:
        from infwidth.data.c4 import find_shards, first_documents

        return first_documents(find_shards(data), data.text_key, data.c4.vocabulary_documents)

    documents = c4_sample if data.corpus == "c4" else None
    description = train_vocabulary(data, args.corpus or layout.corpus, out, documents)
    print(f"{out}: {description['kind']}, {description['size']} tokens")


def _shard(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    if settings.data.corpus != "c4":
        raise UserError(
            f"`infwidth data shard` is for corpus c4; of {settings.data.corpus}, "
            "`infwidth data tokenize` makes all tokens"
        )
    maker = _shard_maker(args, settings, layout)
    manifest = maker.make(maker.shard(args.name))
    counts = {key: manifest[key] for key in ("tokens", "documents", "left_out")}
    if args.stamp:
        write_json(args.stamp, counts)
    print(f"{args.name}: tokens: {_listed(counts['tokens'])}")


def _tokenize(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.c4 import is_catalogue

    corpus, vocabulary = args.corpus or layout.corpus, args.vocabulary or layout.vocabulary
    out = args.out or layout.tokens
    if is_catalogue(corpus):
        from infwidth.data.c4_tokens import join_shards

        manifest = join_shards(_shard_maker(args, settings, layout), vocabulary, out)
    else:
        from infwidth.data.tokens import tokenize

        manifest = tokenize(corpus, vocabulary, out)
    print(f"{out}: tokens: {_listed(manifest['tokens'])}")


def _shard_maker(args: argparse.Namespace, settings: Settings, layout: Layout) -> "ShardMaker":
    from infwidth.data.c4 import find_shards, token_budget
    from infwidth.data.c4_tokens import ShardMaker

    budget = token_budget(settings)
    return ShardMaker(
        find_shards(settings.data, budget),
        args.corpus or layout.corpus,
        args.vocabulary or layout.vocabulary,
        settings.data,
        budget,
        args.shards or layout.shards,
    )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {split}" for split, count in counts.items())


def _show(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.batches import describe_batch
    from infwidth.data.tokens import TokenDataset

    dataset = TokenDataset.open(args.tokens or layout.tokens)
    context, batch_size = settings.model.context, settings.training.batch_size
    for line in describe_batch(dataset, context, batch_size, args.seed, args.step, args.rows):
        print(line)
