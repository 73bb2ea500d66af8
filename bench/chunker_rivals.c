/* Every boundary rule that was considered, in plain C, for bench/chunker.py to compare by what it stores.
 *
 * One function a rule: is there a cut after byte i? All share the loop below (none before min, always at max), so a
 * difference in the tables is a difference of the rule. Speed is measured on syncd/format/_cut.c, not here.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint64_t gear_table[256];
static const uint32_t K[8] = {0x9E3779B1u, 0x85EBCA77u, 0xC2B2AE3Du, 0x27D4EB2Fu,
                              0x165667B1u, 0xD3A2646Du, 0xFD7046C5u, 0xB55A4F09u};

static uint64_t u64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static uint32_t u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }

#define K1 0x9E3779B97F4A7C15ull
#define K2 0xC2B2AE3D27D4EB4Full
#define C1 0xA0761D6478BD642Full
#define C2 0xE7037ED1A0B428DBull

/* words of four bytes, the last byte of word j at distance d[j] from i */
static inline uint32_t linear(const uint8_t *p, const int *d, int words) {
    uint32_t h = 0x2545F491u;
    for (int j = 0; j < words; j++) h += u32(p - 3 - d[j]) * K[j];
    return h;
}

static inline int rule(int kind, const uint8_t *p, uint64_t limit) {
    static const int close4[4] = {0, 4, 8, 12}, wide4[4] = {0, 4, 28, 60}, even4[4] = {0, 16, 32, 48},
                     close8[8] = {0, 4, 8, 12, 16, 20, 24, 28}, prime4[4] = {0, 7, 19, 44},
                     wide8[8] = {0, 4, 8, 12, 24, 36, 48, 60}, wide6[6] = {0, 4, 13, 27, 42, 60};
    uint32_t h;
    switch (kind) {
    case 0: return (u64(p - 7) ^ C1) * K1 < limit;
    case 1: return (u64(p - 7) ^ C1) * K1 + (u64(p - 15) ^ C2) * K2 < limit;
    case 2: return (u64(p - 7) ^ C1) * K1 + (u64(p - 31) ^ C2) * K2 < limit;
    case 3: return (u64(p - 7) ^ C1) * K1 + (u64(p - 63) ^ C2) * K2 < limit;
    case 4: return linear(p, close4, 4) < limit >> 32;
    case 5: return linear(p, wide4, 4) < limit >> 32;
    case 6: return linear(p, even4, 4) < limit >> 32;
    case 7: return linear(p, prime4, 4) < limit >> 32;
    case 8: return linear(p, wide6, 6) < limit >> 32;
    case 9: return linear(p, close8, 8) < limit >> 32;
    case 10: return linear(p, wide8, 8) < limit >> 32;
    case 11: h = linear(p, prime4, 4); h ^= h >> 15; return h * 0x2C1B3C6Du < limit >> 32;
    }
    return 0;
}

static inline __attribute__((always_inline)) size_t run(int kind, const uint8_t *data, size_t size, size_t min,
                                                        size_t max, uint64_t limit, uint64_t *out) {
    size_t start = 0, count = 0;
    while (start < size) {
        size_t end = size - start < max ? size : start + max, i = start + min - 1;
        if (size - start <= min) { out[count++] = size; break; }
        if (kind == 12) {
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
    CASE(0) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
    }
    return 0;
}
