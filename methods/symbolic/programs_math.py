"""Elementary functions in float64 that the compiler can turn into vector code.

The C library's functions are called one number at a time and take most of the time of a program.
These have no branches and no tables, so a loop over them becomes one stream of vector
instructions. Errors stay within 4 units in the last place, those of `power` within 8 for exponents
up to 200 (a test measures them); NaN, infinities and denormal numbers come out as IEEE 754 has
them. `sin`, `cos` and `tan` hold for arguments up to `FAR`; the caller sends larger ones to the C
library.

Polynomials and reductions follow fdlibm (Sun Microsystems, 1993: log, sin, cos, arcsin) and Cephes
(Moshier, 1989: tanh, arctan); exp is its Taylor series on a short interval.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from methods.symbolic.kernels import exact

FAR = 1e5
_MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the rounded integer in the low bits


@intrinsic
def _bits(typingctx, x):
    """Bit pattern of a float64 as int64."""
    return types.int64(types.float64), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.IntType(64)
    )


@intrinsic
def _float(typingctx, i):
    """The float64 with the bit pattern i."""
    return types.float64(types.int64), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.DoubleType()
    )


@intrinsic
def _fma(typingctx, a, b, c):
    """a * b + c, rounded once."""
    return types.float64(types.float64, types.float64, types.float64), (
        lambda context, builder, signature, args: builder.fma(*args)
    )


_MAGIC_BITS = int(np.float64(_MAGIC).view(np.int64))
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_EXP = tuple(1 / math.factorial(k) for k in range(14))


@exact
def exp(x):
    x = 710.0 if x > 710.0 else x
    x = -746.0 if x < -746.0 else x
    t = x * 1.4426950408889634 + _MAGIC
    n = t - _MAGIC
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _EXP[13]
    for k in range(12, -1, -1):
        p = p * r + _EXP[k]
    # 2**n in two factors, so that results may be denormal or overflow at the very end only.
    i = _bits(t) - _MAGIC_BITS
    half = i >> 1
    return p * _float((half + 1023) << 52) * _float((i - half + 1023) << 52)


@exact
def _log_parts(x):
    """Terms of log(x) for x > 0: exponent e, f = mantissa - 1, f * f / 2, and what is left."""
    small = x < 2.2250738585072014e-308
    bits = _bits(x * 18014398509481984.0 if small else x)
    # Mantissa in [sqrt(1/2), sqrt(2)), exponent to match.
    shifted = bits - 0x3FE6A09E667F3BCD
    f = _float((shifted & 0xFFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD) - 1.0
    # To a float by way of the bits: older processors cannot convert vectors of 64-bit integers.
    e = _float((shifted >> 52) + _MAGIC_BITS) - _MAGIC - (54.0 if small else 0.0)
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    p = w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01)
    p = w * (3.999999999940941908e-01 + p)
    q = w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)
    q = z * (6.666666666666735130e-01 + w * (2.857142874366239149e-01 + q))
    half = 0.5 * f * f
    return e, f, half, s * (half + p + q) + e * _LN2_LOW


@exact
def log(x):
    e, f, half, rest = _log_parts(x)
    y = e * _LN2_HIGH - ((half - rest) - f)
    y = math.inf if x == math.inf else y
    y = -math.inf if x == 0 else y
    return y if x >= 0 else math.nan


@exact
def power(a, b):
    """a ** b by exp(b * log|a|), the logarithm and the product each kept in two float64."""
    e, f, half, rest = _log_parts(abs(a))
    # high + low = e log(2) + f - half + rest; |f| is below the step of e log(2) unless e is 0.
    whole = e * _LN2_HIGH
    first = whole + f
    low = (whole - first) + f if e != 0 else 0.0
    high = first - half
    low += ((first - high) - half) - _fma(0.5 * f, f, -half)
    y = high + (low + rest)
    low = (high - y) + (low + rest)
    product = b * y
    error = _fma(b, y, -product) + b * low
    y = exp(product)
    y = y + y * error if product > -746.0 and y < math.inf else y
    half_b = 0.5 * b
    whole_b = np.floor(b) == b
    odd = whole_b and np.floor(half_b) != half_b
    limit = math.inf if (b > 0) == (abs(a) > 1) else 0.0
    y = limit if a == 0 or abs(a) == math.inf or abs(b) == math.inf else y
    y = -y if odd and math.copysign(1.0, a) < 0 else y
    y = math.nan if -math.inf < a < 0 and not whole_b else y
    y = math.nan if a != a or b != b else y
    return 1.0 if b == 0 or a == 1 or (a == -1 and abs(b) == math.inf) else y


@exact
def _sine(r):
    z = r * r
    p = -2.50507602534068634195e-08 + z * 1.58969099521155010221e-10
    p = 2.75573137070700676789e-06 + z * p
    p = -1.98412698298579493134e-04 + z * p
    p = 8.33333333332248946124e-03 + z * p
    p = -1.66666666666666324348e-01 + z * p
    return r + r * z * p


@exact
def _cosine(r):
    z = r * r
    p = 2.08757232129817482790e-09 + z * -1.13596475577881948265e-11
    p = -2.75573143513906633035e-07 + z * p
    p = 2.48015872894767294178e-05 + z * p
    p = -1.38888888888741095749e-03 + z * p
    p = 4.16666666666666019037e-02 + z * p
    half = 0.5 * z
    w = 1.0 - half
    return w + (((1.0 - w) - half) + z * z * p)


@exact
def _quadrant(x):
    """Argument reduced to [-pi/4, pi/4] and the number of quarter turns taken off."""
    t = x * 0.6366197723675814 + _MAGIC
    n = t - _MAGIC
    r = x - n * 1.57079632673412561417
    r = r - n * 6.07710050630396597660e-11
    r = r - n * 2.02226624879595063154e-21
    return r, _bits(t)


@exact
def sin(x):
    r, n = _quadrant(x)
    y = _cosine(r) if n & 1 else _sine(r)
    return -y if n & 2 else y


@exact
def cos(x):
    r, n = _quadrant(x)
    y = _sine(r) if n & 1 else _cosine(r)
    return -y if (n + 1) & 2 else y


@exact
def tan(x):
    r, n = _quadrant(x)
    s, c = _sine(r), _cosine(r)
    return -c / s if n & 1 else s / c


@exact
def tanh(x):
    z = x * x
    p = -1.61468768441708447952e3 + z * (-9.92877231001918586564e1 + z * -9.64399179425052238628e-1)
    q = 4.84406305325125486048e3 + z * (
        2.23548839060100448583e3 + z * (1.12811678491632931402e2 + z)
    )
    a = abs(x)
    far = 1.0 - 2.0 / (exp(2.0 * a) + 1.0)
    return x + x * z * p / q if a < 0.625 else (-far if x < 0 else far)


@exact
def arctan(x):
    a = abs(x)
    middle, far = a > 0.66, a > 2.41421356237309504880
    top = -1.0 if far else (a - 1.0 if middle else a)
    bottom = a if far else (a + 1.0 if middle else 1.0)
    t = top / bottom
    z = t * t
    p = -8.750608600031904122785e-1
    p = -1.615753718733365076637e1 + z * p
    p = -7.500855792314704667340e1 + z * p
    p = -1.228866684490136173410e2 + z * p
    p = -6.485021904942025371773e1 + z * p
    q = 2.485846490142306297962e1 + z
    q = 1.650270098316988542046e2 + z * q
    q = 4.328810604912902668951e2 + z * q
    q = 4.853903996359136964868e2 + z * q
    q = 1.945506571482613964425e2 + z * q
    base = 1.57079632679489661923 if far else (0.78539816339744830962 if middle else 0.0)
    more = 6.123233995736765886130e-17 if far else (3.061616997868382943e-17 if middle else 0.0)
    y = base + (t + (t * z * p / q + more))
    return -y if x < 0 else y


@exact
def _arc(z):
    """(arcsin(x) - x) / x for z = x * x up to 1/4."""
    p = 7.91534994289814532176e-04 + z * 3.47933107596021167570e-05
    p = -4.00555345006794114027e-02 + z * p
    p = 2.01212532134862925881e-01 + z * p
    p = -3.25565818622400915405e-01 + z * p
    p = 1.66666666666666657415e-01 + z * p
    q = -6.88283971605453293030e-01 + z * 7.70381505559019352791e-02
    q = 2.02094576023350569471e00 + z * q
    q = -2.40339491173441421878e00 + z * q
    q = 1.0 + z * q
    return z * p / q


@exact
def arcsin(x):
    a = abs(x)
    near = a < 0.5
    z = a * a if near else 0.5 * (1.0 - a)
    s = a if near else math.sqrt(z)
    y = s + s * _arc(z)
    y = y if near else 1.57079632679489655800 - (2.0 * y - 6.12323399573676603587e-17)
    return -y if x < 0 else y


@exact
def arccos(x):
    a = abs(x)
    near = a < 0.5
    z = a * a if near else 0.5 * (1.0 - a)
    s = a if near else math.sqrt(z)
    y = s + s * _arc(z)
    if near:
        y = -y if x < 0 else y
        y = 1.57079632679489655800 - (y - 6.12323399573676603587e-17)
    else:
        y = 2.0 * y
        y = 3.14159265358979311600 - (y - 1.2246467991473532e-16) if x < 0 else y
    return y
