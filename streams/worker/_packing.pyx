# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""State values packed and unpacked, compiled.

Rule: a fast twin of `streams.worker.packing`, which says what is right and has the tables; a test holds the two against
each other. Nothing is read or written outside of what is given, whatever that holds.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport realloc
from libc.string cimport memcmp, memcpy, memset

from streams.worker import packing as twin

cdef extern from *:
    int first_bit "__builtin_ctzll"(unsigned long long bits) nogil

ctypedef unsigned char byte
ctypedef unsigned long long word

DEF SLOTS = 1024
DEF DEEPEST = 32
DEF FREE = 255
DEF SPARE = 128

cdef enum:
    PACKED = 1
    ESCAPED = 2
    LONG_TEXT = 96
    HASH, HEX, UUID, OBJECT, ARRAY, END, TRUE, FALSE, NULL_, NUMBER, NEGATIVE, MOMENT, OTHER, AGAIN, KNOWN
    SMALL = 200
    OTHER_NAME = 254
    NO_NAME = 255

cdef struct Text:
    const byte* at
    Py_ssize_t size

cdef struct Table:
    byte slot[SLOTS]
    Text text[256]
    int count

cdef Table names
cdef Table texts
cdef Text opening[256]
"""Names as they stand in JSON, with quotes and colon."""
cdef int following[257]
"""By the number of a name, or one more: the name that came after it last."""
cdef byte nibble[256]
"""Of a lower-case digit; 255 for anything else."""
cdef byte ends_other[256]
cdef Text said[256]
"""What each name said last, in the record of the number beside it."""
cdef word said_in[256]
cdef word record = 0
cdef byte* room = NULL
cdef Py_ssize_t room_size = 0

cdef int DEPTH = twin.DEPTH
cdef int DIGITS = twin.DIGITS
cdef Py_ssize_t LONGEST_TEXT = twin.LONGEST_TEXT
cdef Py_ssize_t LONGEST_HEX = twin.LONGEST_HEX
cdef word MOMENTS = twin.MOMENTS
cdef list _kept = []


cdef inline unsigned int slot_of(const byte* text, Py_ssize_t size) noexcept nogil:
    return (size * 61 + text[0] * 7 + text[size - 1] * 131 + text[size >> 1] * 29) & (SLOTS - 1)


cdef inline int find(Table* table, const byte* text, Py_ssize_t size) noexcept nogil:
    """The number of a text that is not empty, or -1."""
    cdef unsigned int slot = slot_of(text, size)
    cdef int number
    while True:
        number = table.slot[slot]
        if number == FREE:
            return -1
        if table.text[number].size == size and memcmp(table.text[number].at, text, size) == 0:
            return number
        slot = (slot + 1) & (SLOTS - 1)


cdef inline byte* put_varint(byte* out, word number) noexcept nogil:
    while number > 127:
        out[0] = <byte>(number & 127) | 128
        out += 1
        number >>= 7
    out[0] = <byte>number
    return out + 1


cdef inline word has(word eight, word letter) noexcept nogil:
    """Of eight bytes: the lowest bit that is set is that of the first one that is `letter`, given eight times."""
    eight ^= letter
    return (eight - 0x0101010101010101ULL) & ~eight & 0x8080808080808080ULL


cdef inline const byte* text_end(const byte* p, const byte* end) noexcept nogil:
    """The quote that closes the text which begins at `p`; NULL where there is none."""
    cdef word eight
    cdef word found
    while p + 8 <= end:
        memcpy(&eight, p, 8)
        found = has(eight, 0x2222222222222222ULL) | has(eight, 0x5C5C5C5C5C5C5C5CULL)
        if not found:
            p += 8
            continue
        p += first_bit(found) >> 3
        if p[0] == 34:
            return p
        p += 2
    while p < end:
        if p[0] == 34:
            return p
        if p[0] == 92:
            p += 1
        p += 1
    return NULL


cdef inline byte* put_some(byte* out, const byte* p, Py_ssize_t size, const byte* end) noexcept nogil:
    """Copy `size` bytes of a source that goes on to `end`; there is room for some more."""
    cdef Py_ssize_t at
    if size > 96 or end - p < 96:
        memcpy(out, p, size)
    else:
        for at in range(0, size, 16):
            memcpy(out + at, p + at, 16)
    return out + size


cdef inline bint is_uuid(const byte* p) noexcept nogil:
    cdef int at
    for at in range(36):
        if at == 8 or at == 13 or at == 18 or at == 23:
            if p[at] != 45:
                return False
        elif nibble[p[at]] == 255:
            return False
    return True


cdef inline bint is_hex(const byte* p, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at
    for at in range(size):
        if nibble[p[at]] == 255:
            return False
    return True


cdef inline byte* put_digits(byte* out, const byte* p, Py_ssize_t size) noexcept nogil:
    """Two digits a byte."""
    cdef Py_ssize_t at
    for at in range(0, size, 2):
        out[0] = nibble[p[at]] << 4 | nibble[p[at + 1]]
        out += 1
    return out


cdef inline byte* put_text(byte* out, const byte* p, Py_ssize_t size, const byte* end, int name) noexcept nogil:
    cdef Text before
    cdef int known
    before.at = NULL
    before.size = 0
    if name >= 0:
        if said_in[name] == record:
            before = said[name]
        said[name].at = p
        said[name].size = size
        said_in[name] = record
    if size == 0:
        out[0] = 0
        return out + 1
    if before.size == size and memcmp(before.at, p, size) == 0:
        out[0] = AGAIN
        return out + 1
    if size <= LONGEST_TEXT:
        known = find(&texts, p, size)
        if known >= 0:
            out[0] = KNOWN + known
            return out + 1
    if size == 36 and is_uuid(p):
        out[0] = UUID
        out = put_digits(out + 1, p, 8)
        out = put_digits(out, p + 9, 4)
        out = put_digits(out, p + 14, 4)
        out = put_digits(out, p + 19, 4)
        return put_digits(out, p + 24, 12)
    if size == 16 and is_hex(p, 16):
        out[0] = HASH
        return put_digits(out + 1, p, 16)
    if 8 <= size <= LONGEST_HEX and size & 1 == 0 and is_hex(p, size):
        out[0] = HEX
        out[1] = <byte>(size >> 1)
        return put_digits(out + 2, p, size)
    if size < LONG_TEXT:
        out[0] = <byte>size
        out += 1
    else:
        out[0] = LONG_TEXT
        out = put_varint(out + 1, size)
    return put_some(out, p, size, end)


cdef inline byte* put_scalar(byte* out, const byte* p, Py_ssize_t size, word* moment) noexcept nogil:
    cdef word number = 0
    cdef bint minus = p[0] == 45
    cdef const byte* digit = p + minus
    cdef Py_ssize_t digits = size - minus
    cdef Py_ssize_t at
    cdef long long later
    if size == 4 and memcmp(p, b"true", 4) == 0:
        out[0] = TRUE
        return out + 1
    if size == 5 and memcmp(p, b"false", 5) == 0:
        out[0] = FALSE
        return out + 1
    if size == 4 and memcmp(p, b"null", 4) == 0:
        out[0] = NULL_
        return out + 1
    if 0 < digits <= DIGITS and (digit[0] != 48 or (digits == 1 and not minus)):
        for at in range(digits):
            if not 48 <= digit[at] <= 57:
                break
            number = number * 10 + (digit[at] - 48)
        else:
            if minus:
                out[0] = NEGATIVE
                return put_varint(out + 1, number)
            if number < 256 - SMALL:
                out[0] = <byte>(SMALL + number)
                return out + 1
            if number < MOMENTS:
                out[0] = NUMBER
                return put_varint(out + 1, number)
            later = <long long>(number - moment[0])
            moment[0] = number
            out[0] = MOMENT
            return put_varint(out + 1, (<word>later << 1) ^ <word>(later >> 63))
    out[0] = OTHER
    out = put_varint(out + 1, size)
    memcpy(out, p, size)
    return out + size


cdef inline const byte* put_name(byte** out, const byte* p, const byte* end, int* name) noexcept nogil:
    """Pack the name at `p`; returns where its value begins. `name` is the number of the one before, then of this one."""
    cdef const byte* start
    cdef Py_ssize_t size
    cdef int before = name[0] + 1
    cdef int likely = following[before]
    if opening[likely].size < end - p and memcmp(opening[likely].at, p, opening[likely].size) == 0:
        name[0] = likely
        out[0][0] = <byte>likely
        out[0] += 1
        return p + opening[likely].size
    if p >= end or p[0] != 34:
        return NULL
    start = p + 1
    p = text_end(start, end)
    if p == NULL or p + 1 >= end or p[1] != 58:
        return NULL
    size = p - start
    name[0] = find(&names, start, size) if size else -1
    if name[0] >= 0:
        following[before] = name[0]
        out[0][0] = <byte>name[0]
        out[0] += 1
    else:
        out[0][0] = OTHER_NAME
        out[0] = put_some(put_varint(out[0] + 1, size), start, size, end)
    return p + 2


cdef byte* put_members(byte* out, const byte* p, const byte* end) noexcept nogil:
    """Pack the members of an object, which `end` with it; NULL where they do not. At most twice as many bytes."""
    cdef bint named[DEEPEST]
    cdef int depth = 1
    cdef int last = -1
    cdef int name
    cdef bint empty = True
    cdef bint is_object
    cdef const byte* start
    cdef word moment = 0
    named[0] = True
    while depth:
        if p >= end:
            return NULL
        is_object = named[depth - 1]
        if p[0] == (125 if is_object else 93):
            out[0] = NO_NAME if is_object else END
            out += 1
            p += 1
            depth -= 1
            empty = False
            continue
        if not empty:
            if p[0] != 44:
                return NULL
            p += 1
        empty = False
        name = -1
        if is_object:
            p = put_name(&out, p, end, &last)
            if p == NULL:
                return NULL
            name = last
        if p >= end:
            return NULL
        if p[0] == 34:
            start = p + 1
            p = text_end(start, end)
            if p == NULL:
                return NULL
            out = put_text(out, start, p - start, end, name)
            p += 1
        elif p[0] == 123 or p[0] == 91:
            if depth == DEPTH:
                return NULL
            named[depth] = p[0] == 123
            out[0] = OBJECT if named[depth] else ARRAY
            out += 1
            p += 1
            depth += 1
            empty = True
        else:
            start = p
            while p < end and not ends_other[p[0]]:
                p += 1
            if p == start:
                return NULL
            out = put_scalar(out, start, p - start, &moment)
    return out if p == end else NULL


cdef bint grow(Py_ssize_t size) except False:
    """See that the room is of `size` bytes or more."""
    global room, room_size
    cdef byte* fresh
    if size > room_size:
        fresh = <byte*>realloc(room, size)
        if fresh == NULL:
            raise MemoryError
        room = fresh
        room_size = size
    return True


cpdef bytes pack(bytes value):
    """As `streams.worker.packing.pack`."""
    global record
    cdef const byte* p = <const byte*>PyBytes_AS_STRING(value)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef byte* out
    if size == 0 or p[0] != 123:
        if size and (p[0] == PACKED or p[0] == ESCAPED):
            return b"\2" + value
        return value
    grow(2 * size + SPARE)
    record += 1
    room[0] = PACKED
    out = put_members(room + 1, p + 1, p + size)
    if out == NULL:
        return value
    return PyBytes_FromStringAndSize(<const char*>room, out - room)


cdef struct Reader:
    const byte* at
    const byte* end
    byte* out
    byte* full
    bint lacks_room


cdef inline bint read_varint(Reader* reader, word* number) noexcept nogil:
    cdef int shift = 0
    number[0] = 0
    while reader.at < reader.end and shift < 64:
        if shift == 63 and reader.at[0] & 126:
            return False
        number[0] |= <word>(reader.at[0] & 127) << shift
        reader.at += 1
        if (reader.at - 1)[0] < 128:
            return True
        shift += 7
    return False


cdef inline bint copy(Reader* reader, const byte* text, Py_ssize_t size) noexcept nogil:
    if size > reader.full - reader.out:
        reader.lacks_room = True
        return False
    memcpy(reader.out, text, size)
    reader.out += size
    return True


cdef inline bint copy_some(Reader* reader, word size) noexcept nogil:
    """The next `size` bytes as they are."""
    if size > <word>(reader.end - reader.at):
        return False
    if not copy(reader, reader.at, size):
        return False
    reader.at += size
    return True


cdef inline bint write_digits(Reader* reader, Py_ssize_t size) noexcept nogil:
    """The next `size` bytes as two digits each."""
    cdef Py_ssize_t at
    cdef int half
    if size > reader.end - reader.at:
        return False
    if 2 * size > reader.full - reader.out:
        reader.lacks_room = True
        return False
    for at in range(size):
        half = reader.at[at] >> 4
        reader.out[0] = half + (48 if half < 10 else 87)
        half = reader.at[at] & 15
        reader.out[1] = half + (48 if half < 10 else 87)
        reader.out += 2
    reader.at += size
    return True


cdef inline bint write_number(Reader* reader, word number) noexcept nogil:
    cdef byte digits[20]
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = <byte>(48 + number % 10)
        number //= 10
        if number == 0:
            break
    return copy(reader, digits + at, 20 - at)


cdef inline bint read_text(Reader* reader, int tag, int name) noexcept nogil:
    cdef word size
    cdef byte* start
    if not copy(reader, b'"', 1):
        return False
    start = reader.out
    if tag < LONG_TEXT:
        if not copy_some(reader, tag):
            return False
    elif tag == LONG_TEXT:
        if not read_varint(reader, &size) or not copy_some(reader, size):
            return False
    elif tag == HASH:
        if not write_digits(reader, 8):
            return False
    elif tag == HEX:
        if reader.at >= reader.end:
            return False
        reader.at += 1
        if not write_digits(reader, (reader.at - 1)[0]):
            return False
    elif tag == UUID:
        if not (
            write_digits(reader, 4) and copy(reader, b"-", 1) and write_digits(reader, 2) and copy(reader, b"-", 1)
            and write_digits(reader, 2) and copy(reader, b"-", 1) and write_digits(reader, 2)
            and copy(reader, b"-", 1) and write_digits(reader, 6)
        ):  # fmt: skip
            return False
    elif tag == AGAIN:
        if name < 0 or said_in[name] != record or not copy(reader, said[name].at, said[name].size):
            return False
    elif tag - KNOWN >= texts.count or not copy(reader, texts.text[tag - KNOWN].at, texts.text[tag - KNOWN].size):
        return False
    if name >= 0:
        said[name].at = start
        said[name].size = reader.out - start
        said_in[name] = record
    return copy(reader, b'"', 1)


cdef inline bint read_scalar(Reader* reader, int tag, word* moment) noexcept nogil:
    cdef word number
    if tag >= SMALL:
        return write_number(reader, tag - SMALL)
    if tag == TRUE:
        return copy(reader, b"true", 4)
    if tag == FALSE:
        return copy(reader, b"false", 5)
    if tag == NULL_:
        return copy(reader, b"null", 4)
    if tag < NUMBER or tag > OTHER or not read_varint(reader, &number):
        return False
    if tag == NUMBER:
        return write_number(reader, number)
    if tag == NEGATIVE:
        return copy(reader, b"-", 1) and write_number(reader, number)
    if tag == MOMENT:
        moment[0] += (number >> 1) ^ -(number & 1)
        if moment[0] >> 63:
            return False
        return write_number(reader, moment[0])
    return copy_some(reader, number)


cdef bint read_members(Reader* reader) noexcept nogil:
    """Unpack the members of an object, which all that is there is; False where it is not, or there is no room."""
    cdef bint named[DEEPEST]
    cdef int depth = 1
    cdef int name
    cdef int tag
    cdef bint empty = True
    cdef bint is_object
    cdef word size
    cdef word moment = 0
    named[0] = True
    while depth:
        if reader.at >= reader.end:
            return False
        is_object = named[depth - 1]
        tag = reader.at[0]
        reader.at += 1
        if tag == (NO_NAME if is_object else END):
            if not copy(reader, b"}" if is_object else b"]", 1):
                return False
            depth -= 1
            empty = False
            continue
        if not empty and not copy(reader, b",", 1):
            return False
        empty = False
        name = -1
        if is_object:
            if tag == OTHER_NAME:
                if not (
                    read_varint(reader, &size) and copy(reader, b'"', 1) and copy_some(reader, size)
                    and copy(reader, b'":', 2)
                ):  # fmt: skip
                    return False
            elif tag >= names.count or not copy(reader, opening[tag].at, opening[tag].size):
                return False
            else:
                name = tag
            if reader.at >= reader.end:
                return False
            tag = reader.at[0]
            reader.at += 1
        if tag == OBJECT or tag == ARRAY:
            if depth == DEPTH or not copy(reader, b"{" if tag == OBJECT else b"[", 1):
                return False
            named[depth] = tag == OBJECT
            depth += 1
            empty = True
        elif tag <= UUID or tag == AGAIN or KNOWN <= tag < SMALL:
            if not read_text(reader, tag, name):
                return False
        elif not read_scalar(reader, tag, &moment):
            return False
    return reader.at == reader.end


cpdef bytes unpack(bytes stored):
    """As `streams.worker.packing.unpack`."""
    global record
    cdef Reader reader
    cdef const byte* start = <const byte*>PyBytes_AS_STRING(stored)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(stored)
    if size == 0 or (start[0] != PACKED and start[0] != ESCAPED):
        return stored
    if start[0] == ESCAPED:
        return stored[1:]
    reader.end = start + size
    reader.lacks_room = True
    size = 4 * size + SPARE
    while reader.lacks_room:
        grow(size)
        record += 1
        reader.at = start + 1
        reader.out = room + 1
        reader.full = room + room_size
        reader.lacks_room = False
        room[0] = 123
        if read_members(&reader):
            return PyBytes_FromStringAndSize(<const char*>room, reader.out - room)
        size = 2 * room_size
    raise twin.broken()


cdef Text text_of(bytes source):
    """The bytes of a constant, which is kept for good."""
    cdef Text text
    _kept.append(source)
    text.at = <const byte*>PyBytes_AS_STRING(source)
    text.size = PyBytes_GET_SIZE(source)
    return text


cdef fill(Table* table, tuple words):
    cdef int number
    cdef unsigned int slot
    memset(table.slot, FREE, SLOTS)
    table.count = len(words)
    for number, name in enumerate(words):
        table.text[number] = text_of(name.encode())
        slot = slot_of(table.text[number].at, table.text[number].size)
        while table.slot[slot] != FREE:
            slot = (slot + 1) & (SLOTS - 1)
        table.slot[slot] = number


cdef prepare():
    cdef int number
    fill(&names, twin.NAMES)
    fill(&texts, twin.TEXTS)
    for number, name in enumerate(twin.NAMES):
        opening[number] = text_of(b'"' + name.encode() + b'":')
    memset(nibble, 255, 256)
    for number in range(16):
        nibble[ord("0123456789abcdef"[number])] = number
    for letter in b'"{}[],: \t\n\r\f\v':
        ends_other[letter] = 1


prepare()
