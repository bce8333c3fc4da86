/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The pool of packet buffers, as rte_pktmbuf_pool_create() would make it but for one thing: net_af_xdp tells
 * the kernel that the buffers lie side by side from the first one's address on (DPDK 22.11,
 * xdp_umem_configure). Where an object may not cross a page, and pages have 4 KiB, there is one buffer a
 * page: those of the last two fifths were outside of what the kernel was told of, each of them was lost from
 * the fill ring at its turn, and in the end the port received nothing any more. So objects may cross pages
 * wherever addresses are virtual ones for the devices, too, and the pool is in one piece there. Where
 * devices use physical addresses there are hugepages: a piece each, side by side, and by reckoning some ten
 * buffers of 16,383 are lost in the gaps.
 */
#include "dataplane/dpdk/pool.h"

#include <stdbool.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

enum {
	BUFFER_CACHE = 256,
};

/* Each buffer with its header; false with rte_errno set. */
static bool populate(struct rte_mempool *pool)
{
	struct rte_pktmbuf_pool_private sizes = {.mbuf_data_room_size = RTE_MBUF_DEFAULT_BUF_SIZE};
	int status = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);

	if (status != 0) {
		rte_errno = -status;
		return false;
	}
	rte_pktmbuf_pool_init(pool, &sizes);
	status = rte_mempool_populate_default(pool);
	if (status < 0) {
		rte_errno = -status;
		return false;
	}
	if ((pool->flags & RTE_MEMPOOL_F_NO_IOVA_CONTIG) != 0 && pool->nb_mem_chunks != 1) {
		rte_errno = ENOMEM; /* memory is in pieces, none of them large enough */
		return false;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return true;
}

struct rte_mempool *pool_new(uint32_t n_buffers)
{
	unsigned int flags = rte_eal_iova_mode() == RTE_IOVA_VA ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0;
	struct rte_mempool *pool = rte_mempool_create_empty(
		"packets", n_buffers, sizeof(struct rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE,
		BUFFER_CACHE, sizeof(struct rte_pktmbuf_pool_private), SOCKET_ID_ANY, flags);

	if (pool != NULL && !populate(pool)) {
		rte_mempool_free(pool);
		return NULL;
	}
	return pool;
}
