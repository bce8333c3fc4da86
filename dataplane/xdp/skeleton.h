/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What bpftool makes of the program, which is not written with our warnings in mind. */
#pragma once

#include <sluice/xdp.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#include "sluice.skel.h"
#pragma GCC diagnostic pop
