# What the compiled decoders share, included by each of them: reading plain JSON, and writing ClickHouse's columns.
#
# Rule: what is not plain (a text with escapes, a number that is not whole) is never judged here: Python is asked then.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from schemas._fetched cimport Records

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

ctypedef unsigned char byte
ctypedef unsigned short short_index

DEF ROWS = 8192
DEF SLOTS = 16384
DEF UNKNOWN = 255
DEF NAME_SLOTS = 256

cdef struct Text:
    const byte* at
    Py_ssize_t size

cdef struct Low:
    # The values of one column: each different one once, in the order in which they came, and its number for each row.
    Py_ssize_t count
    Py_ssize_t different
    short_index last
    unsigned int mask
    Text value[ROWS]
    short_index index[ROWS]
    short_index slot[SLOTS]

cdef struct Buffer:
    byte* at
    Py_ssize_t size
    Py_ssize_t room

cdef byte plain[256]
cdef int _letter
for _letter in range(256):
    plain[_letter] = _letter >= 0x20 and _letter != 0x22 and _letter != 0x5C

cdef Text names[64]
cdef byte field_at[NAME_SLOTS]

_kept = []


cdef Text text_of(bytes source):
    cdef Text text
    _kept.append(source)
    text.at = <const byte*>PyBytes_AS_STRING(source)
    text.size = PyBytes_GET_SIZE(source)
    return text


cdef inline bint same(Text one, Text other) noexcept nogil:
    return one.size == other.size and memcmp(one.at, other.at, one.size) == 0


cdef inline unsigned int name_slot(const byte* name, Py_ssize_t size) noexcept nogil:
    return (size * 13 + name[0] * 7 + name[size - 1] * 31 + name[size >> 1] * 3) & (NAME_SLOTS - 1)


cdef inline int field_of(const byte* name, Py_ssize_t size) noexcept nogil:
    cdef unsigned int slot
    cdef int field
    if size == 0:
        return UNKNOWN
    slot = name_slot(name, size)
    while True:
        field = field_at[slot]
        if field == UNKNOWN:
            return UNKNOWN
        if names[field].size == size and memcmp(names[field].at, name, size) == 0:
            return field
        slot = (slot + 1) & (NAME_SLOTS - 1)


cdef unsigned long long know_names(fields, needed) except 0:
    """Have `field_of` know the names of `fields`, by their number; returns the bits of those that are `needed`."""
    cdef int number
    cdef unsigned int slot
    cdef unsigned long long bits = 0
    memset(field_at, UNKNOWN, NAME_SLOTS)
    for number, name in enumerate(fields):
        names[number] = text_of(name.encode())
        slot = name_slot(names[number].at, names[number].size)
        while field_at[slot] != UNKNOWN:
            slot = (slot + 1) & (NAME_SLOTS - 1)
        field_at[slot] = number
        if name in needed:
            bits |= 1ULL << number
    return bits


cdef inline const byte* text_end(const byte* at, const byte* end) noexcept nogil:
    """The closing quote of a text without escapes that begins at `at`; NULL where it is none."""
    while at < end and plain[at[0]]:
        at += 1
    return at if at < end and at[0] == 0x22 else NULL


cdef const byte* passed_over(const byte* at, const byte* end, int depth) noexcept nogil:
    """What follows the plain value at `at`, which nobody wants; NULL where it is not plain: Python looks at it then."""
    cdef byte close
    if at >= end:
        return NULL
    if at[0] == 0x22:
        at = text_end(at + 1, end)
        return at + 1 if at != NULL else NULL
    if at[0] == 0x7B or at[0] == 0x5B:
        if depth == 0:
            return NULL
        close = at[0] + 2
        at += 1
        if at < end and at[0] == close:
            return at + 1
        while True:
            if close == 0x7D:
                if at >= end or at[0] != 0x22:
                    return NULL
                at = text_end(at + 1, end)
                if at == NULL or at + 1 >= end or at[1] != 0x3A:
                    return NULL
                at += 2
            at = passed_over(at, end, depth - 1)
            if at == NULL or at >= end:
                return NULL
            if at[0] == close:
                return at + 1
            if at[0] != 0x2C:
                return NULL
            at += 1
    if end - at > 5:
        if memcmp(at, b"true", 4) == 0 or memcmp(at, b"null", 4) == 0:
            return at + 4
        if memcmp(at, b"false", 5) == 0:
            return at + 5
    return whole_end(at, end)


cdef inline const byte* whole_end(const byte* at, const byte* end) noexcept nogil:
    """What follows the whole number at `at`, of at most 18 digits; NULL where there is none."""
    cdef const byte* first
    if at < end and at[0] == 0x2D:
        at += 1
        if at < end and at[0] == 0x30:
            return NULL
    first = at
    while at < end and 0x30 <= at[0] <= 0x39:
        at += 1
    if at == first or at - first > 18 or (first[0] == 0x30 and at - first > 1):
        return NULL
    return at


cdef inline long long number_of(const byte* at, const byte* close) noexcept nogil:
    """The whole number from `at` to `close`, its `whole_end`."""
    cdef bint minus = at[0] == 0x2D
    cdef long long value = 0
    at += minus
    while at < close:
        value = value * 10 + (at[0] - 0x30)
        at += 1
    return -value if minus else value


cdef inline bint is_ascii(const byte* at, Py_ssize_t size) noexcept nogil:
    cdef unsigned long long word
    while size >= 8:
        memcpy(&word, at, 8)
        if word & 0x8080808080808080ULL:
            return False
        at += 8
        size -= 8
    while size:
        if at[0] > 0x7F:
            return False
        at += 1
        size -= 1
    return True


cdef bint text_of_record(records, Py_ssize_t at, Text* text, unsigned long long* offset, list kept) except -1:
    """The text in the value of one of `records`, NULL for None, and its offset; False where the value is no bytes.

    What the text lies in is `kept`, where it is not the records'. Raises `UnicodeDecodeError`.
    """
    cdef Records many
    if type(records) is Records:
        many = <Records>records
        text.at = many.places[at].value
        text.size = many.places[at].value_size
        offset[0] = <unsigned long long>many.places[at].offset
    else:
        record = records[at]
        value = record.value
        offset[0] = <unsigned long long>record.offset
        text.at = NULL
        if value is not None:
            if type(value) is not bytes:
                return False
            kept.append(value)
            text.at = <const byte*>PyBytes_AS_STRING(value)
            text.size = PyBytes_GET_SIZE(value)
    if text.at != NULL and not is_ascii(text.at, text.size):
        PyUnicode_DecodeUTF8(<const char*>text.at, text.size, "strict")
    return True


cdef inline void begin_low(Low* column, Py_ssize_t most) noexcept nogil:
    """Empty it, for at most so many values: few need a small table."""
    cdef unsigned int slots = 64
    while slots < SLOTS and slots < 2 * most:
        slots *= 2
    column.count = column.different = 0
    column.last = 0
    column.mask = slots - 1
    memset(column.slot, 0, slots * sizeof(short_index))


cdef inline void add_low(Low* column, Text text) noexcept nogil:
    cdef unsigned long long hashed = 14695981039346656037ULL
    cdef Py_ssize_t number
    cdef unsigned int slot
    cdef short_index there
    if column.count and same(column.value[column.last], text):
        column.index[column.count] = column.last
        column.count += 1
        return
    for number in range(text.size):
        hashed = (hashed ^ text.at[number]) * 1099511628211ULL
    slot = (hashed ^ (hashed >> 29)) & column.mask
    while True:
        there = column.slot[slot]
        if there == 0:
            column.value[column.different] = text
            column.different += 1
            column.slot[slot] = <short_index>column.different
            column.last = <short_index>(column.different - 1)
            break
        if same(column.value[there - 1], text):
            column.last = <short_index>(there - 1)
            break
        slot = (slot + 1) & column.mask
    column.index[column.count] = column.last
    column.count += 1


cdef int grow(Buffer* buffer, Py_ssize_t more) except -1:
    cdef Py_ssize_t room
    cdef byte* fresh
    if buffer.size + more <= buffer.room:
        return 0
    room = 2 * (buffer.size + more)
    fresh = <byte*>realloc(buffer.at, room)
    if fresh == NULL:
        raise MemoryError
    buffer.at, buffer.room = fresh, room
    return 0


cdef inline Py_ssize_t put_text(byte* at, Text text) noexcept nogil:
    """Length and bytes; returns how many that is, at most ten more than the text."""
    cdef Py_ssize_t left = text.size, used = 0
    while left > 0x7F:
        at[used] = <byte>(left & 0x7F | 0x80)
        left >>= 7
        used += 1
    at[used] = <byte>left
    memcpy(at + used + 1, text.at, text.size)
    return used + 1 + text.size


cdef inline void put_number(byte* at, unsigned long long number) noexcept nogil:
    cdef int place
    for place in range(8):
        at[place] = <byte>(number >> (8 * place))


cdef bytes dictionary(const Text* values, Py_ssize_t different, const void* index, Py_ssize_t count, bint wide):
    """As `native.low_cardinality`: the different values, and for each row the number of its own.

    `index` has numbers of one byte or, where it is `wide`, of two: little-endian, as the machines are that this is
    compiled for.
    """
    cdef Py_ssize_t indexed = count * (2 if wide else 1), most = 32 + indexed, number, used = 16
    cdef byte* out
    if count == 0:
        return b""
    for number in range(different):
        most += values[number].size + 10
    out = <byte*>malloc(most)
    if out == NULL:
        raise MemoryError
    try:
        put_number(out, 512 | (1 if wide else 0))
        put_number(out + 8, different)
        for number in range(different):
            used += put_text(out + used, values[number])
        put_number(out + used, count)
        memcpy(out + used + 8, index, indexed)
        return PyBytes_FromStringAndSize(<const char*>out, used + 8 + indexed)
    finally:
        free(out)


cdef bytes low_bytes(Low* column):
    cdef Py_ssize_t number
    cdef byte narrow[ROWS]
    if column.different > 256:
        return dictionary(column.value, column.different, column.index, column.count, True)
    for number in range(column.count):
        narrow[number] = <byte>column.index[number]
    return dictionary(column.value, column.different, narrow, column.count, False)


cdef bytes words(const unsigned long long* values, Py_ssize_t count):
    """Little-endian, as the machines are that this is compiled for."""
    return PyBytes_FromStringAndSize(<const char*>values, 8 * count)
