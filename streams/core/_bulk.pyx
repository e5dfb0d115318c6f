# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""What is done for each entry of a large batch after the core is through with it, compiled: order, keys and sums.

Rule: a fast twin of `streams.worker.sieve` and of a few lines of `streams.core.panes`, `streams.worker.store` and
`streams.worker.windows`, which say what is right; tests hold the two against each other.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.ref cimport PyObject
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memcmp, memcpy

ctypedef unsigned char byte

cdef struct Entry:
    unsigned long long head
    const byte* at
    Py_ssize_t size
    PyObject* key
    PyObject* value

DEF HEAD = 8


cdef int compare(const void* left, const void* right) noexcept nogil:
    cdef const Entry* one = <const Entry*>left
    cdef const Entry* other = <const Entry*>right
    cdef Py_ssize_t shorter
    cdef int found
    if one.head != other.head:
        return -1 if one.head < other.head else 1
    shorter = one.size if one.size < other.size else other.size
    found = memcmp(one.at, other.at, shorter)
    if found:
        return found
    return 0 if one.size == other.size else -1 if one.size < other.size else 1


cdef inline unsigned long long head_of(const byte* at, Py_ssize_t size) noexcept nogil:
    """The first bytes as a number, by which alone most keys are told apart."""
    cdef unsigned long long head = 0
    cdef int place
    for place in range(HEAD):
        head = (head << 8) | (at[place] if place < size else 0)
    return head


cpdef put_in_order(put, dict puts, pack):
    """Call ``put(key, pack(value))`` for each entry, in the order of keys (all of them bytes)."""
    cdef Py_ssize_t count = len(puts)
    cdef Py_ssize_t place = 0
    cdef Entry* entries = <Entry*>malloc((count or 1) * sizeof(Entry))
    if entries == NULL:
        raise MemoryError
    try:
        for key, value in puts.items():
            entries[place].at = <const byte*>PyBytes_AS_STRING(key)
            entries[place].size = PyBytes_GET_SIZE(key)
            entries[place].head = head_of(entries[place].at, entries[place].size)
            entries[place].key = <PyObject*>key
            entries[place].value = <PyObject*>value
            place += 1
        with nogil:
            qsort(entries, count, sizeof(Entry), compare)
        for place in range(count):
            put(<object>entries[place].key, pack(<object>entries[place].value))
    finally:
        free(entries)


cpdef list pane_keys(list changed, texts_of):
    """(texts, key, state key) of the pane of each (dimensions, numbers), as `streams.core.panes` makes them."""
    cdef list found = []
    cdef tuple dimensions
    cdef tuple texts
    cdef bytes names
    cdef bytes key
    cdef byte buffer[24]
    cdef byte* digit
    cdef byte* out
    cdef long long minute
    cdef long long left
    cdef Py_ssize_t size
    for dimensions, _ in changed:
        texts = texts_of(dimensions[1:])
        names = texts[0]
        minute = dimensions[0]
        left = minute
        digit = buffer + 24
        while True:
            digit -= 1
            digit[0] = 48 + left % 10
            left //= 10
            if left == 0:
                break
        size = buffer + 24 - digit
        key = PyBytes_FromStringAndSize(NULL, 2 + size + PyBytes_GET_SIZE(names))
        out = <byte*>PyBytes_AS_STRING(key)
        out[0] = 91
        memcpy(out + 1, digit, size)
        out[1 + size] = 44
        memcpy(out + 2 + size, PyBytes_AS_STRING(names), PyBytes_GET_SIZE(names))
        state_key = PyBytes_FromStringAndSize(NULL, 5 + PyBytes_GET_SIZE(key))
        out = <byte*>PyBytes_AS_STRING(state_key)
        out[0] = 112
        out[1] = (minute >> 24) & 255
        out[2] = (minute >> 16) & 255
        out[3] = (minute >> 8) & 255
        out[4] = minute & 255
        memcpy(out + 5, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        found.append((texts, key, state_key))
    return found


cpdef gather(dict pending, dict changes):
    """Add changes of panes to those that wait, by minute, site, channel, campaign and currency."""
    cdef tuple dimensions
    cdef tuple key
    cdef list numbers
    cdef PyObject* old
    for dimensions, numbers in changes.items():
        key = (dimensions[0], dimensions[1], dimensions[2], dimensions[3], dimensions[7])
        old = PyDict_GetItem(pending, key)
        if old == NULL:
            pending[key] = list(numbers)
        else:
            sum_into(<list>old, numbers, False)


cdef inline sum_into(list totals, list numbers, bint taken):
    """Add `numbers` to `totals` in place, or take them out; either may be the shorter."""
    cdef Py_ssize_t place
    for place in range(len(totals), len(numbers)):
        totals.append(0)
    for place in range(len(numbers)):
        number = numbers[place]
        if number:
            totals[place] = totals[place] - number if taken else totals[place] + number


cpdef sum_series(dict table, tuple series, list numbers, bint taken):
    """Add numbers to a series' totals, or take them out; a series whose totals are all 0 is not there."""
    cdef PyObject* old = PyDict_GetItem(table, series)
    cdef list totals
    if old == NULL:
        totals = [0] * len(numbers)
        table[series] = totals
    else:
        totals = <list>old
    sum_into(totals, numbers, taken)
    for number in totals:
        if number:
            return
    del table[series]


cpdef settle_series(list entries, Py_ssize_t start, Py_ssize_t end, long long minute, tuple lengths, tuple tables):
    """Add ((minute, site, channel, campaign, currency), numbers) to the tables of the windows that reach back so far."""
    cdef tuple entry, key, series
    cdef long long age
    cdef Py_ssize_t at, place
    for at in range(start, end):
        entry = <tuple>entries[at]
        key = <tuple>entry[0]
        age = minute - <long long>key[0]
        if age < 0:
            continue
        series = None
        for place in range(len(lengths)):
            if age < <long long>lengths[place]:
                if series is None:
                    series = (key[1], key[2], key[3], key[4])
                sum_series(<dict>tables[place], series, <list>entry[1], False)


DEF MARK = 109
DEF SHORTEST_MARK = 9


cdef inline bint bits_of(const byte* key, Py_ssize_t size, unsigned int mask, unsigned int* one, unsigned int* other):
    """The two bits of a mark's key; False for any other key."""
    if size < SHORTEST_MARK or key[0] != MARK:
        return False
    one[0] = (
        <unsigned int>key[1] << 24 | <unsigned int>key[2] << 16 | <unsigned int>key[3] << 8 | <unsigned int>key[4]
    ) & mask
    other[0] = (
        <unsigned int>key[5] << 24 | <unsigned int>key[6] << 16 | <unsigned int>key[7] << 8 | <unsigned int>key[8]
    ) & mask
    return True


cpdef note(bytearray sieve, keys):
    """As `streams.worker.sieve.note`."""
    cdef byte* bits = <byte*>PyByteArray_AS_STRING(sieve)
    cdef unsigned int mask = 8 * len(sieve) - 1
    cdef unsigned int one, other
    for key in keys:
        if bits_of(<const byte*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), mask, &one, &other):
            bits[one >> 3] |= 1 << (one & 7)
            bits[other >> 3] |= 1 << (other & 7)


cpdef list look_up(list keys, get, unpack, bytearray sieve):
    """As `streams.worker.sieve.look_up`."""
    cdef const byte* bits = <const byte*>PyByteArray_AS_STRING(sieve)
    cdef unsigned int mask = 8 * len(sieve) - 1
    cdef unsigned int one, other
    cdef list asked = []
    cdef list places = []
    cdef list found = [None] * len(keys)
    cdef Py_ssize_t at
    for at in range(len(keys)):
        key = keys[at]
        if bits_of(<const byte*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), mask, &one, &other) and not (
            bits[one >> 3] & (1 << (one & 7)) and bits[other >> 3] & (1 << (other & 7))
        ):
            continue
        asked.append(key)
        places.append(at)
    if asked:
        at = 0
        for value in <list>get(asked):
            if value is not None:
                found[<Py_ssize_t>places[at]] = unpack(value)
            at += 1
    return found
