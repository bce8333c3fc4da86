/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* How a program's heap takes memory from the kernel. For programs whose objects come and go by the hundred MB. */
#pragma once

/**
 * Call first in main(), with one thread. From then on the heap lies in huge pages, as far as the kernel
 * has any, and keeps some hundred MB of what was freed for what comes next: a page of 4 KiB that is faulted in
 * costs more than to read or fill what is in it. Only what is used is resident. Never fails: it is all advice.
 */
void heap_keep(void);
