# SPDX-License-Identifier: Apache-2.0
#
# From C4's shards to tokens: a catalogue, a vocabulary, then a job a shard.

C4_OTHER = support.with_other_vocabulary(SETTINGS)
# By vocabulary, since a text is more bytes than subwords: the shards' files, by name.
C4_SHARDS = {
    LAYOUT.shards: support.c4_shards(SETTINGS, LAYOUT.corpus),
    LAYOUT.other_shards: support.c4_shards(C4_OTHER, LAYOUT.corpus),
}
VOCABULARY_CODE = support.with_unknown(
    code_digest(["infwidth.data.vocabulary", "infwidth.data.c4.first_documents"]),
    VOCABULARY_MODEL,
)


def c4_stamps(folder, split=""):
    """What says that the tokens of shards are there; they themselves lie beside it, undeclared."""
    return [
        f"{folder}/{name}.json" for name in C4_SHARDS[folder] if name.startswith(split)
    ]


def c4_file(folder):
    """The file of a shard."""
    return lambda wildcards: support.known([C4_SHARDS[folder][wildcards.shard]])


def c4_held_out(folder):
    """Training shards leave out copies of held-out documents, so they come after those."""
    return lambda wildcards: (
        c4_stamps(folder, "validation") if wildcards.shard.startswith("train") else []
    )


rule corpus:
    """Lists C4's shards and their sizes: from then on a change of one is an error, not new data."""
    output:
        f"{LAYOUT.corpus}/manifest.json",
    log:
        f"{LAYOUT.logs}/corpus.log",
    conda:
        CONDA
    params:
        settings=slice_of("data corpus"),
        code=code_digest(["infwidth.data.c4.write_catalogue"]),
    shell:
        "infwidth data corpus --settings {params.settings:q} --out $(dirname {output}) 2> {log}"


rule vocabulary:
    """Trains the SentencePiece model on the first documents, takes the one given, or bytes."""
    input:
        corpus=ancient(f"{LAYOUT.corpus}/manifest.json"),
        model=support.known(VOCABULARY_MODEL),
    output:
        f"{LAYOUT.vocabulary}/vocabulary.json",
    log:
        f"{LAYOUT.logs}/vocabulary.log",
    conda:
        CONDA
    params:
        settings=slice_of("data vocabulary"),
        code=VOCABULARY_CODE,
    shell:
        "infwidth data vocabulary --settings {params.settings:q}"
        " --corpus $(dirname {input.corpus}) --out $(dirname {output}) 2> {log}"


rule shard:
    """Packs the documents of one shard, BOS ... EOS, into token files, unless they are there."""
    input:
        file=c4_file(LAYOUT.shards),
        corpus=ancient(f"{LAYOUT.corpus}/manifest.json"),
        vocabulary=f"{LAYOUT.vocabulary}/vocabulary.json",
        held_out=c4_held_out(LAYOUT.shards),
    output:
        f"{LAYOUT.shards}/{{shard}}.json",
    log:
        f"{LAYOUT.logs}/shards/{{shard}}.log",
    wildcard_constraints:
        shard="(train|validation)-[0-9]{5}",
    conda:
        CONDA
    threads: 1
    params:
        settings=slice_of("data shard"),
        code=code_digest(["infwidth.data.c4_tokens.tokenize_shard"]),
    shell:
        "infwidth data shard {wildcards.shard} --settings {params.settings:q}"
        " --corpus $(dirname {input.corpus}) --vocabulary $(dirname {input.vocabulary})"
        " --shards $(dirname {output}) --stamp {output} 2> {log}"


rule tokenize:
    """Makes one manifest of all shards, as many as the largest run reads."""
    input:
        corpus=ancient(f"{LAYOUT.corpus}/manifest.json"),
        vocabulary=f"{LAYOUT.vocabulary}/vocabulary.json",
        shards=c4_stamps(LAYOUT.shards),
    output:
        f"{LAYOUT.tokens}/manifest.json",
    log:
        f"{LAYOUT.logs}/tokenize.log",
    conda:
        CONDA
    params:
        settings=slice_of("data tokenize"),
        code=code_digest(["infwidth.data.c4_tokens"]),
    shell:
        "infwidth data tokenize --settings {params.settings:q} --corpus $(dirname {input.corpus})"
        " --vocabulary $(dirname {input.vocabulary}) --shards $(dirname {input.shards[0]})"
        " --out $(dirname {output}) 2> {log}"


# The ablation asks what changes in the other vocabulary, too.


use rule vocabulary as other_vocabulary with:
    output:
        f"{LAYOUT.other_vocabulary}/vocabulary.json",
    log:
        f"{LAYOUT.logs}/other_vocabulary.log",
    params:
        settings=support.slice_of(C4_OTHER, "data vocabulary"),
        code=VOCABULARY_CODE,


use rule shard as other_shard with:
    input:
        file=c4_file(LAYOUT.other_shards),
        corpus=ancient(f"{LAYOUT.corpus}/manifest.json"),
        vocabulary=f"{LAYOUT.other_vocabulary}/vocabulary.json",
        held_out=c4_held_out(LAYOUT.other_shards),
    output:
        f"{LAYOUT.other_shards}/{{shard}}.json",
    log:
        f"{LAYOUT.logs}/other_shards/{{shard}}.log",
    params:
        settings=support.slice_of(C4_OTHER, "data shard"),
        code=code_digest(["infwidth.data.c4_tokens.tokenize_shard"]),


use rule tokenize as other_tokenize with:
    input:
        corpus=ancient(f"{LAYOUT.corpus}/manifest.json"),
        vocabulary=f"{LAYOUT.other_vocabulary}/vocabulary.json",
        shards=c4_stamps(LAYOUT.other_shards),
    output:
        f"{LAYOUT.other_tokens}/manifest.json",
    log:
        f"{LAYOUT.logs}/other_tokenize.log",
    params:
        settings=support.slice_of(C4_OTHER, "data tokenize"),
        code=code_digest(["infwidth.data.c4_tokens"]),
