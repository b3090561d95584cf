#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What must be there before packages are installed: prepare.sh ROOT
set -eu

# A cluster of postgresql has random numbers in it: none is made here.
mkdir -p "$1/etc/postgresql-common"
echo 'create_main_cluster = false' \
    >"$1/etc/postgresql-common/createcluster.conf"
