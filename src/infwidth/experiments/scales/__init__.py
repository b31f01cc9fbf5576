# SPDX-License-Identifier: Apache-2.0
"""Scales: is one fixed scale for each feature all that a kernel lacks against Adam?"""
