/* What the multiplications of our own convolutions work on: words, which are
   what one lane multiplies at a time. */
#ifndef STYLENET_OWN_WORDS_H
#define STYLENET_OWN_WORDS_H
#include "vectors.h"

/* Products of two: pairs of bf16 values, added in float32. */
#if defined(ACT_BF16)
#define DOT2 1
#else
#define DOT2 0
#endif

/* A float, or two bf16 values. */
typedef uint32_t word;
#define PER_WORD (DOT2 + 1)

INLINE vf broadcast_word(const void *p) {
    float f;
    memcpy(&f, p, sizeof f);
    return all(f);
}
INLINE vf multiply_add(vf acc, vf a, vf b) {
#if DOT2
    return (vf)_mm512_dpbf16_ps((__m512)acc, (__m512bh)a, (__m512bh)b);
#else
    return acc + a * b;
#endif
}
INLINE word make_word(float low, float high) {
#if DOT2
    const vf v = {low, high};
    act a[BLK];
    word w;
    store_act(a, v);
    memcpy(&w, a, sizeof w);
    return w;
#else
    word w;
    (void)high;
    memcpy(&w, &low, sizeof w);
    return w;
#endif
}

#if DOT2
INLINE vf make_words(vf low, vf high) {
    const __m512i first = _mm512_cvtepu16_epi32(narrow(low)), second = _mm512_cvtepu16_epi32(narrow(high));
    return (vf)_mm512_or_si512(first, _mm512_slli_epi32(second, 16));
}
#else
#define make_words(low, high) (low)
#endif
#endif
