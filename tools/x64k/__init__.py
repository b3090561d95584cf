# SPDX-License-Identifier: GPL-2.0-or-later
"""The x64k command: builds, runs and measures the virtual processor."""

VERSION = "0.1"
