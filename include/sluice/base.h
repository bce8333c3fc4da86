/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The ground every other header stands on: fixed-width types, byte order, and the few words that
 * all three compilers (gcc, clang, clang for BPF) must agree on. It includes nothing but the
 * compiler's own freestanding headers and must stay that way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Big-endian quantities as they stand in a packet. Never do arithmetic on them. */
typedef uint16_t be16_t;
typedef uint32_t be32_t;
typedef uint64_t be64_t;

#define SL_INLINE       static inline __attribute__((always_inline))
#define SL_LIKELY(x)    __builtin_expect(!!(x), 1)
#define SL_UNLIKELY(x)  __builtin_expect(!!(x), 0)
#define SL_PACKED       __attribute__((packed))
#define SL_UNUSED       __attribute__((unused))
#define SL_MUST_USE     __attribute__((warn_unused_result))
#define SL_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define SL_CACHE_LINE 64u

/*
 * Of a header in a frame, which may stand at any address. clang for BPF would read a packed struct
 * byte by byte; where BPF programs run, words may be read at any address.
 */
#ifdef __bpf__
#define SL_UNALIGNED
#else
#define SL_UNALIGNED SL_PACKED
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Sluice supports little-endian hosts only"
#endif

/* Host order to network order and back; constant expressions for constants. */
#define SL_BE16(x) ((be16_t)__builtin_bswap16((uint16_t)(x)))
#define SL_BE32(x) ((be32_t)__builtin_bswap32((uint32_t)(x)))

SL_INLINE be16_t sl_to_be16(uint16_t host)
{
	return __builtin_bswap16(host);
}

SL_INLINE uint16_t sl_from_be16(be16_t net)
{
	return __builtin_bswap16(net);
}

SL_INLINE be32_t sl_to_be32(uint32_t host)
{
	return __builtin_bswap32(host);
}

SL_INLINE uint32_t sl_from_be32(be32_t net)
{
	return __builtin_bswap32(net);
}

/** The word at @at, which need not be aligned, as it lies in memory. */
SL_INLINE uint32_t sl_load32(const void *at)
{
#ifdef __bpf__
	return *(const uint32_t *)at;
#else
	uint32_t word;

	__builtin_memcpy(&word, at, sizeof(word));
	return word;
#endif
}

/** Likewise of 64 bits. */
SL_INLINE uint64_t sl_load64(const void *at)
{
#ifdef __bpf__
	return *(const uint64_t *)at;
#else
	uint64_t word;

	__builtin_memcpy(&word, at, sizeof(word));
	return word;
#endif
}

/** Likewise of 16 bits. */
SL_INLINE uint16_t sl_load16(const void *at)
{
#ifdef __bpf__
	return *(const uint16_t *)at;
#else
	uint16_t word;

	__builtin_memcpy(&word, at, sizeof(word));
	return word;
#endif
}

/** Writes the word @word, as it lies in memory, at @at, which need not be aligned. */
SL_INLINE void sl_store16(void *at, uint16_t word)
{
#ifdef __bpf__
	*(uint16_t *)at = word;
#else
	__builtin_memcpy(at, &word, sizeof(word));
#endif
}

/** Likewise of 32 bits. */
SL_INLINE void sl_store32(void *at, uint32_t word)
{
#ifdef __bpf__
	*(uint32_t *)at = word;
#else
	__builtin_memcpy(at, &word, sizeof(word));
#endif
}

/** Likewise of 64 bits. */
SL_INLINE void sl_store64(void *at, uint64_t word)
{
#ifdef __bpf__
	*(uint64_t *)at = word;
#else
	__builtin_memcpy(at, &word, sizeof(word));
#endif
}

/**
 * @value, of which the compiler then knows nothing: so it keeps the bounds checks that follow, which
 * it would prove redundant and the BPF verifier would miss.
 */
SL_INLINE uint32_t sl_hide(uint32_t value)
{
	__asm__("" : "+r"(value));
	return value;
}

/**
 * 1 if @a < @b, else 0, without a branch: a loop of these is one way for the BPF verifier, which else
 * follows each of its turns both ways. Both below 2^31.
 */
SL_INLINE uint32_t sl_less(uint32_t a, uint32_t b)
{
	return sl_hide(a - b) >> 31;
}

/** Copies a link address from @from to @to; neither need be aligned. */
SL_INLINE void sl_copy_mac(void *to, const void *from)
{
#ifdef __bpf__
	*(uint32_t *)to = *(const uint32_t *)from;
	*((uint16_t *)to + 2) = *((const uint16_t *)from + 2);
#else
	__builtin_memcpy(to, from, 6);
#endif
}

/** Whether the link addresses at @a and @b are the same. */
SL_INLINE bool sl_mac_equal(const void *a, const void *b)
{
	uint32_t differs = sl_load32(a) ^ sl_load32(b);

#ifdef __bpf__
	differs |= (uint32_t)(*((const uint16_t *)a + 2) ^ *((const uint16_t *)b + 2));
#else
	differs |= sl_load32((const uint8_t *)a + 2) ^ sl_load32((const uint8_t *)b + 2);
#endif
	return differs == 0;
}

/* Address family of a record; the values are Sluice's own, not AF_INET's. */
enum sl_family {
	SL_FAMILY_NONE = 0,
	SL_FAMILY_IPV4 = 4,
	SL_FAMILY_IPV6 = 6,
};

/* IP protocol numbers that Sluice speaks of. */
enum sl_protocol {
	SL_PROTOCOL_ICMP = 1,
	SL_PROTOCOL_TCP = 6,
	SL_PROTOCOL_UDP = 17,
	SL_PROTOCOL_ICMPV6 = 58,
};

/**
 * An IPv4 or IPv6 address as it stands in a packet. IPv4 uses word[0]; the other words are zero,
 * so two addresses of one family are equal if and only if all four words are. The words stand first
 * because an initialiser of another member leaves the rest of a union undefined: write .word = {x}.
 */
union sl_addr {
	be32_t word[4];
	be32_t ipv4;
	uint8_t byte[16];
};

/** The 128-bit secret of a keyed hash. */
struct sl_hash_key {
	uint64_t word[2];
};

_Static_assert(sizeof(union sl_addr) == 16, "an address is 16 bytes");

SL_INLINE bool sl_addr_equal(const union sl_addr *a, const union sl_addr *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}
