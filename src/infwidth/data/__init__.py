# SPDX-License-Identifier: Apache-2.0
"""From text to batches: corpus, vocabulary, tokens; each step a folder with a manifest."""
