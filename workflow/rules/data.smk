# SPDX-License-Identifier: Apache-2.0
#
# From text to tokens: corpus, vocabulary, token files.

TEXTS = support.own_text_files(SETTINGS)
VOCABULARY_CODE = support.with_unknown(
    code_digest(["infwidth.data.vocabulary"]), VOCABULARY_MODEL
)
OTHER = support.with_other_vocabulary(SETTINGS)


rule corpus:
    """Prepares the corpus as a TFDS data set, split by document."""
    input:
        support.known(TEXTS),
    output:
        f"{LAYOUT.corpus}/manifest.json",
    log:
        f"{LAYOUT.logs}/corpus.log",
    conda:
        CONDA
    params:
        settings=slice_of("data corpus"),
        code=support.with_unknown(code_digest(["infwidth.data.corpus"]), TEXTS),
    shell:
        "infwidth data corpus --settings {params.settings:q} --out $(dirname {output}) 2> {log}"


rule vocabulary:
    """Trains the SentencePiece model on the training split, takes the one given, or bytes."""
    input:
        enough=lambda _: support.enough_text(SETTINGS),
        corpus=f"{LAYOUT.corpus}/manifest.json",
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


rule tokenize:
    """Packs every document, BOS ... EOS, into token files."""
    input:
        corpus=f"{LAYOUT.corpus}/manifest.json",
        vocabulary=f"{LAYOUT.vocabulary}/vocabulary.json",
    output:
        f"{LAYOUT.tokens}/manifest.json",
    log:
        f"{LAYOUT.logs}/tokenize.log",
    conda:
        CONDA
    params:
        settings="{}",
        code=code_digest(["infwidth.data.tokens"]),
    shell:
        "infwidth data tokenize --settings {params.settings:q} --corpus $(dirname {input.corpus})"
        " --vocabulary $(dirname {input.vocabulary}) --out $(dirname {output}) 2> {log}"


# The ablation asks what changes in the other vocabulary, too.


use rule vocabulary as other_vocabulary with:
    input:
        enough=lambda _: support.enough_text(OTHER),
        corpus=rules.vocabulary.input.corpus,
        model=rules.vocabulary.input.model,
    output:
        f"{LAYOUT.other_vocabulary}/vocabulary.json",
    log:
        f"{LAYOUT.logs}/other_vocabulary.log",
    params:
        settings=support.slice_of(OTHER, "data vocabulary"),
        code=VOCABULARY_CODE,


use rule tokenize as other_tokenize with:
    input:
        corpus=f"{LAYOUT.corpus}/manifest.json",
        vocabulary=f"{LAYOUT.other_vocabulary}/vocabulary.json",
    output:
        f"{LAYOUT.other_tokens}/manifest.json",
    log:
        f"{LAYOUT.logs}/other_tokenize.log",
