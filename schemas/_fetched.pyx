# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Records of fetched Kafka batches, compiled: where each lies in its batch's bytes, and an object for whom asks for one.

Rule: the same records as aiokafka's own (message format 2, https://kafka.apache.org/documentation/#recordbatch), which
makes six objects of each; a test holds the two against each other. Bytes that are no records are a `ValueError`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cimport cython

ctypedef const unsigned char* Bytes


@cython.no_gc
cdef class Record:
    """One record, with the attributes that aiokafka's have."""

    cdef readonly long long offset
    cdef readonly long long timestamp
    cdef readonly bytes key
    cdef readonly bytes value
    cdef readonly list headers
    timestamp_type = 0
    checksum = None


cdef class Records:
    """A sequence of records; its parts, and what it is joined with, share their bytes."""

    def __cinit__(self):
        self.places = NULL
        self.count = 0

    def __dealloc__(self):
        free(self.places)

    def __len__(self):
        return self.count

    def __getitem__(self, at):
        cdef Py_ssize_t start, end, step
        if isinstance(at, slice):
            start, end, step = at.indices(self.count)
            if step != 1:
                raise ValueError("records come one after the other")
            return self.part(start, max(start, end))
        start = at
        if start < 0:
            start += self.count
        if not 0 <= start < self.count:
            raise IndexError("no such record")
        return self.record(start)

    def __iter__(self):
        cdef Py_ssize_t at
        for at in range(self.count):
            yield self.record(at)

    def held_bytes(self):
        """Bytes of all batches that are kept for it."""
        return sum(map(len, self.held))

    cdef Records part(self, Py_ssize_t start, Py_ssize_t end):
        cdef Records found = with_room(end - start)
        memcpy(found.places, self.places + start, (end - start) * sizeof(Place))
        found.held = (
            self.held[self.holder(start, 0) : self.holder(end - 1, len(self.held) - 1) + 1] if end > start else []
        )
        return found

    cdef Py_ssize_t holder(self, Py_ssize_t at, Py_ssize_t otherwise):
        """Which of the bytes that are held a record lies in, so that a part holds no more than it needs."""
        cdef Bytes here = self.places[at].headers
        cdef Bytes body
        cdef Py_ssize_t number_of
        for number_of in range(len(self.held)):
            body = <Bytes>PyBytes_AS_STRING(self.held[number_of])
            if body <= here < body + PyBytes_GET_SIZE(self.held[number_of]):
                return number_of
        return otherwise

    cdef record(self, Py_ssize_t at):
        cdef Place* place = self.places + at
        cdef Record found = Record.__new__(Record)
        found.offset = place.offset
        found.timestamp = place.timestamp
        if place.key != NULL:
            found.key = PyBytes_FromStringAndSize(<const char*>place.key, place.key_size)
        if place.value != NULL:
            found.value = PyBytes_FromStringAndSize(<const char*>place.value, place.value_size)
        found.headers = headers_of(place)
        return found


cdef Records with_room(Py_ssize_t count):
    cdef Records found = Records.__new__(Records)
    found.places = <Place*>malloc((count or 1) * sizeof(Place))
    if found.places == NULL:
        raise MemoryError
    found.count = count
    return found


def join(list parts):
    """All of several `Records`, in their order."""
    cdef Py_ssize_t count = 0
    cdef Records part
    cdef Records found
    for part in parts:
        count += part.count
    found = with_room(count)
    found.held = []
    count = 0
    for part in parts:
        memcpy(found.places + count, part.places, part.count * sizeof(Place))
        count += part.count
        found.held += part.held
    return found


cdef inline Bytes number(Bytes at, Bytes end, long long* found) noexcept nogil:
    """Read a zigzag varint; NULL where there is none."""
    cdef unsigned long long value = 0
    cdef int shift = 0
    if at == NULL:
        return NULL
    while at < end and shift < 64:
        value |= <unsigned long long>(at[0] & 127) << shift
        at += 1
        if (at - 1)[0] < 128:
            found[0] = <long long>(value >> 1) ^ -<long long>(value & 1)
            return at
        shift += 7
    return NULL


cdef inline Bytes text(Bytes at, Bytes end, Bytes* found, Py_ssize_t* size) noexcept nogil:
    """Pass over a length and so many bytes, which begin at `found`: NULL there where the length is -1."""
    cdef long long length
    at = number(at, end, &length)
    if at == NULL or length > end - at:
        return NULL
    found[0] = NULL
    size[0] = 0
    if length >= 0:
        found[0] = at
        size[0] = length
        at += length
    return at


cdef list headers_of(Place* place):
    cdef Bytes at
    cdef Bytes name
    cdef Bytes value
    cdef Py_ssize_t name_size, value_size
    cdef long long count
    cdef list found = []
    at = number(place.headers, place.end, &count)
    while at != NULL and count > 0:
        at = text(text(at, place.end, &name, &name_size), place.end, &value, &value_size)
        if at == NULL or name == NULL:
            raise ValueError("headers that are none")
        found.append((
            name[:name_size].decode(),
            PyBytes_FromStringAndSize(<const char*>value, value_size) if value != NULL else None,
        ))  # fmt: skip
        count -= 1
    return found


def parse(bytes body, Py_ssize_t count, long long offset, long long first, long long latest, bint appended):
    """The `count` records in a batch's decompressed `body`, whose offsets begin at `offset`.

    `first` is the time of the first one (ms); all have the time `latest` where it was `appended` by Kafka.
    """
    cdef Records found
    cdef Bytes at = <Bytes>PyBytes_AS_STRING(body)
    cdef Bytes end = at + PyBytes_GET_SIZE(body)
    cdef Place* place
    cdef long long size, delta
    cdef Py_ssize_t number_of
    if not 0 <= count <= PyBytes_GET_SIZE(body):
        raise ValueError("not as many records as it says")
    found = with_room(count)
    found.held = [body]
    for number_of in range(count):
        place = found.places + number_of
        at = number(at, end, &size)
        if at == NULL or not 0 < size <= end - at:
            raise ValueError("a record that ends elsewhere")
        place.end = at + size
        at = number(at + 1, place.end, &delta)
        place.timestamp = latest if appended else first + delta
        at = number(at, place.end, &delta)
        place.offset = offset + delta
        at = text(at, place.end, &place.key, &place.key_size)
        at = text(at, place.end, &place.value, &place.value_size)
        if at == NULL:
            raise ValueError("a record that ends too soon")
        place.headers = at
        at = place.end
    return found


def restore(Records records, put, delete, pack):
    """For each record whose first header is ``k``, the key: ``put(key, pack(value))``; ``delete(key)`` for a tombstone.

    Returns the keys of those that have one header more.
    """
    cdef list more = []
    cdef Py_ssize_t number_of, size
    cdef long long count
    cdef Place* place
    cdef Bytes at
    cdef Bytes name
    cdef Bytes value
    cdef bytes key
    for number_of in range(records.count):
        place = records.places + number_of
        at = number(place.headers, place.end, &count)
        if at == NULL or count < 1:
            continue
        at = text(at, place.end, &name, &size)
        if at == NULL or size != 1 or name[0] != 107:  # k
            continue
        at = text(at, place.end, &value, &size)
        if at == NULL or value == NULL:
            continue
        key = PyBytes_FromStringAndSize(<const char*>value, size)
        if place.value == NULL:
            delete(key)
            continue
        put(key, pack(PyBytes_FromStringAndSize(<const char*>place.value, place.value_size)))
        if count > 1:
            more.append(key)
    return more
