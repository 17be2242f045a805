//! Which executables and libraries are loaded, without a lock: from the kernel's auxiliary vector to the main program's headers,
//! from its dynamic section to the list that the loader keeps for debuggers (`struct r_debug`, link.h), along that list.
//!
//! dl_iterate_phdr(3) waits for the loader. In a signal handler that has interrupted the loader, and in a child that was forked
//! while another thread was in it, it waits for ever. Here nothing waits: each read may fail, and whatever the loader is
//! changing meanwhile is seen as it was or as it will be. A list that does not fit together is walked again a few times; then what was
//! found of it counts.
//!
//! glibc and musl keep the same list; a static program has none, and is its only object. Everything here is signal-safe.

use super::memory;

#[cfg(target_pointer_width = "64")]
pub(crate) type Header = libc::Elf64_Phdr;
#[cfg(target_pointer_width = "64")]
type FileHeader = libc::Elf64_Ehdr;
#[cfg(target_pointer_width = "32")]
pub(crate) type Header = libc::Elf32_Phdr;
#[cfg(target_pointer_width = "32")]
type FileHeader = libc::Elf32_Ehdr;

/// So many program headers of an object are looked at; linkers make a dozen.
const HEADERS: usize = 24;
/// So many objects and namespaces are looked at: whatever the list has become, the walk ends.
const OBJECTS: usize = 1 << 14;
const NAMESPACES: usize = 16;
const ATTEMPTS: usize = 8;

/// One executable or library.
pub(crate) struct Object {
    /// What is added to the addresses in its headers.
    pub(crate) base: usize,
    /// Where the loader keeps its path, which is empty for the main program; 0 where there is no loader.
    pub(crate) name: usize,
    /// Its dynamic section, 0 if it has none.
    pub(crate) dynamic: usize,
    headers: [Header; HEADERS],
    count: usize,
}

impl Object {
    pub(crate) fn headers(&self) -> &[Header] {
        self.headers.get(..self.count).unwrap_or_default()
    }

    /// Where the segment that `header` describes lies, and how long it is.
    pub(crate) fn segment(&self, header: &Header) -> (usize, usize) {
        (self.base.wrapping_add(header.p_vaddr as usize), header.p_memsz as usize)
    }

    fn of_kind(&self, kind: u32) -> impl Iterator<Item = &Header> {
        self.headers().iter().filter(move |header| header.p_type == kind)
    }

    /// The only segment of a kind.
    pub(crate) fn the(&self, kind: u32) -> Option<usize> {
        self.of_kind(kind).next().map(|header| self.segment(header).0)
    }

    /// Whether its code is at `address`.
    pub(crate) fn has_code_at(&self, address: usize) -> bool {
        self.of_kind(libc::PT_LOAD).filter(|header| header.p_flags & libc::PF_X != 0).any(|header| {
            let (start, length) = self.segment(header);
            address.wrapping_sub(start) < length
        })
    }

    fn read_headers(at: usize, count: usize) -> Option<Self> {
        // SAFETY: numbers, of which any are valid.
        let mut headers: [Header; HEADERS] = unsafe { std::mem::zeroed() };
        let count = count.min(HEADERS);
        let length = count * size_of::<Header>();
        // SAFETY: the bytes of that array, which any bytes may be.
        let bytes = unsafe { std::slice::from_raw_parts_mut(headers.as_mut_ptr().cast::<u8>(), length) };
        (memory::read(at, bytes) == length).then_some(Self { base: 0, name: 0, dynamic: 0, headers, count })
    }

    /// The main program, as the kernel has shown its headers.
    fn main() -> Option<Self> {
        // SAFETY: asks for a number.
        let at = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
        // SAFETY: as above.
        let count = unsafe { libc::getauxval(libc::AT_PHNUM) } as usize;
        let mut object = Self::read_headers(at, count).filter(|_| at != 0)?;
        let own = object.of_kind(libc::PT_PHDR).next().map(|header| header.p_vaddr as usize);
        // Without a header for the headers they lie right behind the file's own, in the segment that begins the file.
        let first = || {
            let begins = object.of_kind(libc::PT_LOAD).find(|header| header.p_offset == 0)?;
            Some(begins.p_vaddr as usize + size_of::<FileHeader>())
        };
        object.base = at.wrapping_sub(own.or_else(first)?);
        object.dynamic = object.the(libc::PT_DYNAMIC).unwrap_or(0);
        Some(object)
    }

    /// What the loader describes there: its headers are where linkers put them, and say of the dynamic section what the loader does.
    fn described(link: &Link) -> Option<Self> {
        let mut bytes = [0_u8; size_of::<FileHeader>()];
        if memory::read(link.base, &mut bytes) != bytes.len() || !bytes.starts_with(b"\x7fELF") {
            return None;
        }
        // SAFETY: as many bytes as a file header has, which are numbers.
        let file = unsafe { bytes.as_ptr().cast::<FileHeader>().read_unaligned() };
        let at = link.base.checked_add(file.e_phoff as usize)?;
        let mut object = Self::read_headers(at, usize::from(file.e_phnum))?;
        (object.base, object.name) = (link.base, link.name);
        object.dynamic = object.the(libc::PT_DYNAMIC)?;
        (object.dynamic == link.dynamic).then_some(object)
    }
}

/// `struct link_map`, link.h: the part that programs may read.
#[derive(Clone, Copy)]
struct Link {
    base: usize,
    name: usize,
    dynamic: usize,
    next: usize,
    previous: usize,
}

impl Link {
    fn read(at: usize) -> Option<Self> {
        let [base, name, dynamic, next, previous] = words(at)?;
        Some(Self { base, name, dynamic, next, previous })
    }
}

fn words<const N: usize>(at: usize) -> Option<[usize; N]> {
    let mut words = [0; N];
    // SAFETY: the bytes of that array.
    let bytes =
        unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), size_of_val(&words)) };
    let length = bytes.len();
    (memory::read(at, bytes) == length).then_some(words)
}

/// Where the loader has its `struct r_debug`: it writes that into the main program's dynamic section before it calls a constructor.
fn debug(main: &Object) -> Option<usize> {
    const DEBUG: usize = 21;
    entry_of(main, DEBUG).filter(|debug| *debug != 0)
}

/// The value that the object's dynamic section has for this tag.
pub(crate) fn entry_of(object: &Object, wanted: usize) -> Option<usize> {
    const ENTRIES: usize = 256;
    let places = (0..ENTRIES).map(|entry| object.dynamic.wrapping_add(entry * 2 * size_of::<usize>()));
    let mut entries = places.map_while(words::<2>).take_while(|[tag, _]| *tag != 0 && object.dynamic != 0);
    entries.find(|[tag, _]| *tag == wanted).map(|[_, value]| value)
}

/// Whether the loader is adding or removing an object at this moment.
pub(crate) fn are_changing() -> bool {
    const STATE: usize = 3;
    let debug = Object::main().and_then(|main| debug(&main)).and_then(words::<5>);
    debug.is_some_and(|debug| debug[STATE] as i32 != 0)
}

/// Calls `look` with each link of the loader's lists. False if one of them does not fit together.
fn each_link(main: &Object, look: &mut dyn FnMut(&Link)) -> bool {
    let mut debug = debug(main);
    let mut rest = OBJECTS;
    for _ in 0..NAMESPACES {
        // version, map, brk, state, ldbase, and from version 2 on the next namespace's.
        let Some([version, first, _, _, _, next]) = debug.and_then(words::<6>) else {
            return debug.is_none();
        };
        let (mut at, mut before) = (first, 0);
        while at != 0 {
            let Some(link) = Link::read(at).filter(|link| link.previous == before && rest > 0) else {
                return false;
            };
            rest -= 1;
            look(&link);
            (before, at) = (at, link.next);
        }
        debug = (version as i32 >= 2 && next != 0).then_some(next);
    }
    true
}

/// As [`each_link`], again from the start while the list does not fit together: links can come twice.
fn each_link_of_some_try(main: &Object, look: &mut dyn FnMut(&Link)) {
    let _whole = (0..ATTEMPTS).any(|_| each_link(main, look));
}

/// Calls `look` with each loaded object, the main program first. While another thread loads or unloads some, an object can come
/// twice.
pub(crate) fn each(mut look: impl FnMut(&Object)) {
    let Some(main) = Object::main() else { return };
    look(&main);
    each_link_of_some_try(&main, &mut |link| {
        if link.dynamic != main.dynamic
            && let Some(object) = Object::described(link)
        {
            look(&object);
        }
    });
}

/// The object with code at `address`.
pub(crate) fn holding(address: usize) -> Option<Object> {
    let main = Object::main()?;
    if main.has_code_at(address) {
        return Some(main);
    }
    // Libraries begin at their base: it is the last one that begins before.
    let mut nearest: Option<Link> = None;
    each_link_of_some_try(&main, &mut |link| {
        let is_nearer = nearest.as_ref().is_none_or(|nearest| nearest.base < link.base);
        if link.dynamic != main.dynamic && link.base <= address && is_nearer {
            nearest = Some(*link);
        }
    });
    Object::described(&nearest?).filter(|object| object.has_code_at(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn visit(
        object: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        found: *mut std::ffi::c_void,
    ) -> std::ffi::c_int {
        // SAFETY: what dl_iterate_phdr(3) passes.
        let object = unsafe { &*object };
        // SAFETY: the vector below.
        let found = unsafe { &mut *found.cast::<Vec<(usize, usize)>>() };
        found.push((object.dlpi_addr as usize, usize::from(object.dlpi_phnum)));
        0
    }

    #[test]
    fn they_are_those_of_the_loader() {
        let (mut loader, mut own) = (Vec::<(usize, usize)>::new(), Vec::new());
        // SAFETY: `visit` takes what is passed.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut loader).cast()) };
        each(|object| own.push((object.base, object.count)));
        loader.sort_unstable();
        own.sort_unstable();
        assert!(own.len() > 2, "{own:?}");
        assert_eq!(loader, own);
    }

    #[test]
    fn an_address_is_in_one_of_them_or_in_none() {
        let here = holding(an_address_is_in_one_of_them_or_in_none as *const () as usize).unwrap();
        assert_eq!((here.base, here.name), (Object::main().unwrap().base, 0));
        let libc = holding(libc::getpid as *const () as usize).unwrap();
        assert!(libc.name != 0 && libc.base != here.base);
        let text = memory::word(libc.name).map(usize::to_ne_bytes).unwrap();
        assert_eq!(text[0], b'/', "{text:?}");
        assert!(holding(std::ptr::from_ref(&libc) as usize).is_none());
        assert!(holding(0).is_none() && holding(usize::MAX).is_none());
    }
}
