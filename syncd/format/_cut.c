/* Where does the next chunk end? The rule "quad16-1" of docs/decisions/0002-chunker.md, as fast as this CPU can.
 *
 * The rule. For the byte at offset i of a chunk, with u32(e) the little-endian word of the four bytes ending at e:
 *
 *     h(i) = sum over t = 0..3 of M[t] * (sum over j = 0..3 of K[j] * u32(i - 64 t - 4 j))        modulo 2^32
 *
 * There is a cut after byte i where 2^31 - T <= h(i) < 2^31, T = floor(2^32 / average): that is, where h as a signed
 * number is at least 2^31 - T, one comparison in every instruction set. None before `minimum` bytes, none before the
 * WINDOW of 208 bytes lies wholly inside the chunk, always one at `maximum`.
 *
 * Why it vectorises. No state rolls from byte to byte, so sixteen (AVX-512) or eight (AVX2) positions, four bytes
 * apart, are summed at once from plain unaligned loads. The four groups of a sum lie exactly 64 bytes, one block,
 * apart: a group is computed once and carried to the three blocks after it in running sums.
 *
 * All variants give the same offsets, bit for bit; tests/format/test_chunker.py compares them with the Python twin.
 * The stable ABI of Python 3.11 is all that is used of Python; memory for the result comes from malloc because it is
 * grown while the GIL is released.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 64
#define WINDOW (3 * BLOCK + 16)
#define SMALLEST 64
#define LARGEST (16 << 20)

/* The first seven words of BLAKE3("syncd quad16-1 50"), made odd; why N is 50 is told in the decision record. */
#define K0 0x70dee2cdu
#define K1 0x5760bb2fu
#define K2 0xce3e2e21u
#define K3 0x8ebe23edu
#define M1 0xed2c332bu
#define M2 0xaeb01c19u
#define M3 0x9a8b64f1u

/* The first i in [from, to) with a cut after data[i], else `to`. `data` is the start of the chunk, from >= WINDOW - 1. */
typedef size_t (*finder)(const uint8_t *data, size_t from, size_t to, int32_t floor);

static inline uint32_t u32(const uint8_t *last)
{
    const uint8_t *p = last - 3; /* compilers know this for one load where the machine is little-endian */
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint32_t group(const uint8_t *p)
{
    return K0 * u32(p) + K1 * u32(p - 4) + K2 * u32(p - 8) + K3 * u32(p - 12);
}

static inline int cuts(const uint8_t *p, int32_t floor)
{
    uint32_t h = group(p) + M1 * group(p - BLOCK) + M2 * group(p - 2 * BLOCK) + M3 * group(p - 3 * BLOCK);
    return h < 0x80000000u && h >= (uint32_t)floor;
}

static size_t find_plain(const uint8_t *data, size_t from, size_t to, int32_t floor)
{
    for (size_t i = from; i < to; i++)
        if (cuts(data + i, floor))
            return i;
    return to;
}

#if defined(__GNUC__) && defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HAVE_BLOCKS 1

typedef uint32_t word __attribute__((aligned(1), may_alias)); /* at any address */

static inline uint32_t group_of(const word *w)
{
    return K0 * w[0] + K1 * w[-1] + K2 * w[-2] + K3 * w[-3];
}

/* The vector variants' shape in plain C: arrays of neighbouring words, which compilers turn into what the target has
 * at least (NEON, say). Lane l of row v stands for position 4 l + v of its block. */
static size_t find_scalar(const uint8_t *data, size_t from, size_t to, int32_t floor)
{
    uint32_t one[4][16], two[4][16], three[4][16]; /* M3 g; M2 g + M3 g'; M1 g + M2 g' + M3 g'', g the newest */
    size_t at = from;
    if (to - from < BLOCK)
        return find_plain(data, from, to, floor);
    for (int v = 0; v < 4; v++) {
        const word *w = (const word *)(const void *)(data + at + v - 3);
        for (int l = 0; l < 16; l++) {
            uint32_t oldest = group_of(w + l - 48), older = group_of(w + l - 32), old = group_of(w + l - 16);
            three[v][l] = M3 * oldest + M2 * older + M1 * old;
            two[v][l] = M3 * older + M2 * old;
            one[v][l] = M3 * old;
        }
    }
    for (; to - at >= BLOCK; at += BLOCK) {
        uint32_t found = 0;
        for (int v = 0; v < 4; v++) {
            const word *w = (const word *)(const void *)(data + at + v - 3);
            for (int l = 0; l < 16; l++) {
                uint32_t g = group_of(w + l);
                found |= (int32_t)(g + three[v][l]) >= floor ? UINT32_MAX : 0;
                three[v][l] = two[v][l] + M1 * g;
                two[v][l] = one[v][l] + M2 * g;
                one[v][l] = M3 * g;
            }
        }
        if (found)
            return find_plain(data, at, at + BLOCK, floor);
    }
    return find_plain(data, at, to, floor);
}
#endif

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAVE_X86 1
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f")))

AVX2 static inline __m256i group_avx2(const uint8_t *p)
{
#define WORDS(distance) _mm256_loadu_si256((const __m256i *)(const void *)(p - 3 - (distance)))
    __m256i a = _mm256_mullo_epi32(WORDS(0), _mm256_set1_epi32((int)K0));
    __m256i b = _mm256_mullo_epi32(WORDS(4), _mm256_set1_epi32((int)K1));
    __m256i c = _mm256_mullo_epi32(WORDS(8), _mm256_set1_epi32((int)K2));
    __m256i d = _mm256_mullo_epi32(WORDS(12), _mm256_set1_epi32((int)K3));
#undef WORDS
    return _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
}

/* Lane l of vector v stands for position 32 (v / 4) + 4 l + v % 4 of its block. */
AVX2 static size_t find_avx2(const uint8_t *data, size_t from, size_t to, int32_t floor)
{
    const __m256i m1 = _mm256_set1_epi32((int)M1), m2 = _mm256_set1_epi32((int)M2), m3 = _mm256_set1_epi32((int)M3);
    const __m256i below = _mm256_set1_epi32(floor - 1);
    __m256i one[8], two[8], three[8]; /* as in find_scalar */
    size_t at = from;
    if (to - from < BLOCK)
        return find_plain(data, from, to, floor);
    for (int v = 0; v < 8; v++) {
        const uint8_t *p = data + at + 32 * (v / 4) + v % 4;
        __m256i oldest = group_avx2(p - 3 * BLOCK), older = group_avx2(p - 2 * BLOCK), old = group_avx2(p - BLOCK);
        one[v] = _mm256_mullo_epi32(old, m3);
        two[v] = _mm256_add_epi32(_mm256_mullo_epi32(older, m3), _mm256_mullo_epi32(old, m2));
        three[v] = _mm256_add_epi32(_mm256_mullo_epi32(oldest, m3), _mm256_mullo_epi32(older, m2));
        three[v] = _mm256_add_epi32(three[v], _mm256_mullo_epi32(old, m1));
    }
    for (; to - at >= BLOCK; at += BLOCK) {
        __m256i found = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (int v = 0; v < 8; v++) {
            __m256i g = group_avx2(data + at + 32 * (v / 4) + v % 4);
            found = _mm256_or_si256(found, _mm256_cmpgt_epi32(_mm256_add_epi32(g, three[v]), below));
            three[v] = _mm256_add_epi32(two[v], _mm256_mullo_epi32(g, m1));
            two[v] = _mm256_add_epi32(one[v], _mm256_mullo_epi32(g, m2));
            one[v] = _mm256_mullo_epi32(g, m3);
        }
        if (!_mm256_testz_si256(found, found))
            return find_plain(data, at, at + BLOCK, floor);
    }
    return find_plain(data, at, to, floor);
}

AVX512 static inline __m512i group_avx512(const uint8_t *p)
{
#define WORDS(distance) _mm512_loadu_si512((const void *)(p - 3 - (distance)))
    __m512i a = _mm512_mullo_epi32(WORDS(0), _mm512_set1_epi32((int)K0));
    __m512i b = _mm512_mullo_epi32(WORDS(4), _mm512_set1_epi32((int)K1));
    __m512i c = _mm512_mullo_epi32(WORDS(8), _mm512_set1_epi32((int)K2));
    __m512i d = _mm512_mullo_epi32(WORDS(12), _mm512_set1_epi32((int)K3));
#undef WORDS
    return _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
}

/* Lane l of vector v stands for position 4 l + v of its block. */
AVX512 static size_t find_avx512(const uint8_t *data, size_t from, size_t to, int32_t floor)
{
    const __m512i m1 = _mm512_set1_epi32((int)M1), m2 = _mm512_set1_epi32((int)M2), m3 = _mm512_set1_epi32((int)M3);
    const __m512i least = _mm512_set1_epi32(floor);
    __m512i one[4], two[4], three[4];
    size_t at = from;
    if (to - from < BLOCK)
        return find_plain(data, from, to, floor);
    for (int v = 0; v < 4; v++) {
        const uint8_t *p = data + at + v;
        __m512i oldest = group_avx512(p - 3 * BLOCK), older = group_avx512(p - 2 * BLOCK);
        __m512i old = group_avx512(p - BLOCK);
        one[v] = _mm512_mullo_epi32(old, m3);
        two[v] = _mm512_add_epi32(_mm512_mullo_epi32(older, m3), _mm512_mullo_epi32(old, m2));
        three[v] = _mm512_add_epi32(_mm512_mullo_epi32(oldest, m3), _mm512_mullo_epi32(older, m2));
        three[v] = _mm512_add_epi32(three[v], _mm512_mullo_epi32(old, m1));
    }
    for (; to - at >= BLOCK; at += BLOCK) {
        unsigned found = 0;
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            __m512i g = group_avx512(data + at + v);
            found |= _mm512_cmpge_epi32_mask(_mm512_add_epi32(g, three[v]), least);
            three[v] = _mm512_add_epi32(two[v], _mm512_mullo_epi32(g, m1));
            two[v] = _mm512_add_epi32(one[v], _mm512_mullo_epi32(g, m2));
            one[v] = _mm512_mullo_epi32(g, m3);
        }
        if (found)
            return find_plain(data, at, at + BLOCK, floor);
    }
    return find_plain(data, at, to, floor);
}
#endif

/* ---- which variant ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    finder find;
} variants[] = { /* best first */
#ifdef HAVE_X86
    {"avx512", find_avx512},
    {"avx2", find_avx2},
#endif
#ifdef HAVE_BLOCKS
    {"scalar", find_scalar},
#endif
    {"plain", find_plain},
};
#define VARIANTS (sizeof variants / sizeof variants[0])

static int usable(const char *name)
{
#ifdef HAVE_X86
    __builtin_cpu_init(); /* the answers below also ask whether the kernel saves the wide registers */
    if (!strcmp(name, "avx512"))
        return __builtin_cpu_supports("avx512f") != 0;
    if (!strcmp(name, "avx2"))
        return __builtin_cpu_supports("avx2") != 0;
#endif
    (void)name;
    return 1;
}

static int best(void)
{
    int v = 0;
    while (!usable(variants[v].name))
        v++;
    return v;
}

/* ---- cutting ---------------------------------------------------------------------------------------------------- */

struct ends {
    size_t *at, count, room;
};

static int push(struct ends *ends, size_t end)
{
    if (ends->count == ends->room) {
        size_t room = ends->room ? 2 * ends->room : 64;
        size_t *grown = realloc(ends->at, room * sizeof *grown);
        if (!grown)
            return 0;
        ends->at = grown;
        ends->room = room;
    }
    ends->at[ends->count++] = end;
    return 1;
}

/* False when memory ran out. */
static int cut(finder find, const uint8_t *data, size_t size, size_t minimum, size_t maximum, int32_t floor, int final,
               struct ends *ends)
{
    size_t first = (minimum > WINDOW ? minimum : WINDOW) - 1, start = 0;
    while (start < size) {
        size_t left = size - start, to = left < maximum ? left : maximum;
        size_t i = first < to ? find(data + start, first, to, floor) : to;
        size_t length = i < to ? i + 1 : to;
        if (i == to && left < maximum && !final)
            break; /* more data may move this end */
        if (!push(ends, start + length))
            return 0;
        start += length;
    }
    return 1;
}

/* A size between low and high, or -1 with ValueError (TypeError for what is no whole number). */
static Py_ssize_t checked(PyObject *value, const char *name, Py_ssize_t low, Py_ssize_t high)
{
    Py_ssize_t number = PyNumber_AsSsize_t(value, NULL); /* clips what is too large: out of bounds just as well */
    if (number == -1 && PyErr_Occurred())
        return -1;
    if (number < low || number > high) {
        PyErr_Format(PyExc_ValueError, "%s must lie between %zd and %zd", name, low, high);
        return -1;
    }
    return number;
}

static int named(const char *name)
{
    if (!name)
        return best();
    for (int v = 0; v < (int)VARIANTS; v++)
        if (!strcmp(variants[v].name, name) && usable(name))
            return v;
    PyErr_Format(PyExc_ValueError, "this machine has no variant %s", name);
    return -1;
}

static PyObject *list_of(const struct ends *ends)
{
    PyObject *list = PyList_New((Py_ssize_t)ends->count);
    for (size_t i = 0; list && i < ends->count; i++) {
        PyObject *end = PyLong_FromSize_t(ends->at[i]);
        if (!end || PyList_SetItem(list, (Py_ssize_t)i, end) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

PyDoc_STRVAR(boundaries_doc,
             "boundaries(buffer, minimum, maximum, average, final, variant=None) -> list[int]\n\n"
             "End offsets of the chunks of buffer, which starts at a chunk's start; its tail only when final.\n"
             "64 <= minimum <= average <= maximum <= 16 MiB, else ValueError. Releases the GIL.");

static PyObject *boundaries(PyObject *module, PyObject *args)
{
    PyObject *minimum, *maximum, *average, *list = NULL;
    Py_buffer buffer;
    const char *name = NULL;
    int final, variant, enough;
    Py_ssize_t low, high, mean;
    struct ends ends = {NULL, 0, 0};
    (void)module;
    if (!PyArg_ParseTuple(args, "y*OOOp|z:boundaries", &buffer, &minimum, &maximum, &average, &final, &name))
        return NULL;
    if ((low = checked(minimum, "minimum", SMALLEST, LARGEST)) > 0 &&
        (high = checked(maximum, "maximum", low, LARGEST)) > 0 &&
        (mean = checked(average, "average", low, high)) > 0 && (variant = named(name)) >= 0) {
        int32_t floor = (int32_t)(0x80000000u - (uint32_t)((UINT64_C(1) << 32) / (uint64_t)mean));
        Py_BEGIN_ALLOW_THREADS
        enough = cut(variants[variant].find, buffer.buf, (size_t)buffer.len, (size_t)low, (size_t)high, floor, final, &ends);
        Py_END_ALLOW_THREADS
        list = enough ? list_of(&ends) : PyErr_NoMemory();
        free(ends.at);
    }
    PyBuffer_Release(&buffer);
    return list;
}

PyDoc_STRVAR(variant_doc, "variant() -> str\n\nThe variant boundaries() takes on this machine.");

static PyObject *variant(PyObject *module, PyObject *ignored)
{
    (void)module, (void)ignored;
    return PyUnicode_FromString(variants[best()].name);
}

PyDoc_STRVAR(variants_doc, "variants() -> list[str]\n\nAll that this machine can run, fastest first.");

static PyObject *list_variants(PyObject *module, PyObject *ignored)
{
    PyObject *list = PyList_New(0);
    (void)module, (void)ignored;
    for (int v = 0; list && v < (int)VARIANTS; v++) {
        PyObject *name = usable(variants[v].name) ? PyUnicode_FromString(variants[v].name) : NULL;
        if (name ? PyList_Append(list, name) < 0 : PyErr_Occurred() != NULL)
            Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return list;
}

static PyMethodDef methods[] = {
    {"boundaries", boundaries, METH_VARARGS, boundaries_doc},
    {"variant", variant, METH_NOARGS, variant_doc},
    {"variants", list_variants, METH_NOARGS, variants_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "syncd.format._cut", "The chunker's C half; syncd.format.chunker is its door.", 0, methods,
    slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__cut(void) { return PyModuleDef_Init(&module); }
