/* Every boundary rule that was considered, in plain C, for bench/chunker.py to compare by what it stores.
 *
 * One function a rule: is there a cut after byte i? All share the loop below (none before min, always at max), so a
 * difference in the tables is a difference of the rule. Speed is measured on syncd/format/_cut.c, not here.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint64_t gear_table[256];
static const uint32_t K[4] = {0x70dee2cdu, 0x5760bb2fu, 0xce3e2e21u, 0x8ebe23edu};
static const uint32_t M[4] = {1, 0xed2c332bu, 0xaeb01c19u, 0x9a8b64f1u};

static uint64_t u64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static uint32_t u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }

#define K1 0x9E3779B97F4A7C15ull
#define K2 0xC2B2AE3D27D4EB4Full
#define C1 0xA0761D6478BD642Full
#define C2 0xE7037ED1A0B428DBull

/* groups of four words, `apart` bytes from one another: quad16-1 is four groups, 64 apart */
static inline int grouped(const uint8_t *p, int groups, int apart, uint64_t limit) {
    uint32_t h = 0;
    for (int t = 0; t < groups; t++)
        for (int j = 0; j < 4; j++) h += M[t] * K[j] * u32(p - 3 - apart * t - 4 * j);
    return h < 1u << 31 && h >= (1u << 31) - (limit >> 32);
}

static inline int rule(int kind, const uint8_t *p, uint64_t limit) {
    switch (kind) {
    case 0: return (u64(p - 7) ^ C1) * K1 < limit;
    case 1: return (u64(p - 7) ^ C1) * K1 + (u64(p - 31) ^ C2) * K2 < limit;
    case 2: return (u64(p - 7) ^ C1) * K1 + (u64(p - 63) ^ C2) * K2 < limit;
    case 3: return grouped(p, 1, 0, limit);
    case 4: return grouped(p, 4, 16, limit);
    case 5: return grouped(p, 4, 32, limit);
    case 6: return grouped(p, 4, 64, limit);
    }
    return 0;
}

static inline __attribute__((always_inline)) size_t run(int kind, const uint8_t *data, size_t size, size_t min,
                                                        size_t max, uint64_t limit, uint64_t *out) {
    size_t start = 0, count = 0;
    while (start < size) {
        size_t end = size - start < max ? size : start + max, i = start + min - 1;
        if (size - start <= min) { out[count++] = size; break; }
        if (kind == 7) {
            uint64_t h = 0;
            for (i = start + min - 64; i < start + min - 1; i++) h = (h << 1) + gear_table[data[i]];
            for (; i < end - 1; i++) { h = (h << 1) + gear_table[data[i]]; if (h < limit) break; }
        } else {
            while (i < end - 1 && !rule(kind, data + i, limit)) i++;
        }
        out[count++] = start = i + 1;
    }
    return count;
}

size_t rival_cut(int kind, const uint8_t *data, size_t size, size_t min, size_t max, size_t avg, uint64_t *out) {
    uint64_t limit = UINT64_MAX / avg + 1, seed = 7;
    for (int i = 0; i < 256; i++) {
        uint64_t z = seed += 0x9E3779B97F4A7C15ull;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull; z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        gear_table[i] = z ^ (z >> 31);
    }
    switch (kind) {
#define CASE(n) case n: return run(n, data, size, min, max, limit, out);
    CASE(0) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
    }
    return 0;
}
