/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The buffers of all ports. Control thread, at start. */
#pragma once

#include <stdint.h>

struct rte_mempool;

/** @n_buffers: best a power of two less one. NULL with rte_errno set. */
struct rte_mempool *pool_new(uint32_t n_buffers);
