/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* A word to the service manager over $NOTIFY_SOCKET (sd_notify(3)). */
#pragma once

/** Sends @text, "READY=1" for one; does nothing where nobody listens. */
void notify_send(const char *text);
