//! Which executables and libraries are loaded, without a lock: from the kernel's auxiliary vector
//! to the main program's headers, from its dynamic section to the list that the loader keeps for
//! debuggers (`struct r_debug`, link.h), along that list.
//!
//! dl_iterate_phdr(3) waits for the loader. In a signal handler that has interrupted the loader,
//! and in a child that was forked while another thread was in it, it waits for ever. Here nothing
//! waits: each read may fail, and whatever the loader is changing meanwhile is seen as it was or as
//! it will be. A list that does not fit together is walked again a few times; then what was found
//! of it counts.
//!
//! What was loaded with the program is never unmapped, and stands in the list up to the loader
//! itself; what dlopen(3) adds comes behind. So up to there memory is read as it is, which takes
//! hardly any system call.
//!
//! glibc and musl keep the same list; a static program has none, and is its only object. Everything
//! here is signal-safe.

use super::memory;
use super::pages::LEAST_PAGE;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(target_pointer_width = "64")]
pub(crate) type Header = libc::Elf64_Phdr;
#[cfg(target_pointer_width = "64")]
type FileHeader = libc::Elf64_Ehdr;
#[cfg(target_pointer_width = "32")]
pub(crate) type Header = libc::Elf32_Phdr;
#[cfg(target_pointer_width = "32")]
type FileHeader = libc::Elf32_Ehdr;

/// So many bytes of an object's beginning are read at once: the headers of any, and mostly its
/// notes.
const HEAD: usize = 1536;
/// So many objects and namespaces are looked at: whatever the list has become, the walk ends.
const OBJECTS: usize = 1 << 14;
const NAMESPACES: usize = 16;
const ATTEMPTS: usize = 8;

/// One executable or library.
pub(crate) struct Object<'a> {
    /// What is added to the addresses in its headers.
    pub(crate) base: usize,
    /// Where the loader keeps its path; 0 for the main program.
    pub(crate) name: usize,
    /// Its dynamic section, 0 if it has none.
    pub(crate) dynamic: usize,
    /// Never unmapped: what lies in it is read as it is.
    stays: bool,
    /// A library's memory from `base` on; the main program's headers.
    head: &'a [u8],
    pub(crate) headers: &'a [Header],
}

/// Room for the beginning of an object that can be unmapped meanwhile.
#[repr(C, align(8))]
pub(crate) struct Room(MaybeUninit<[u8; HEAD]>);

impl Room {
    pub(crate) const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// The beginning of the object that the loader describes there.
    fn head(&mut self, link: &Link) -> &[u8] {
        // A library's own headers are mostly at its base, but need not be mapped.
        if link.stays && link.base.is_multiple_of(LEAST_PAGE) && memory::is_there(link.base) {
            // SAFETY: in a page that can be read, of an object that is never unmapped.
            return unsafe { std::slice::from_raw_parts(link.base as *const u8, HEAD) };
        }
        let room = self.0.write([0; HEAD]);
        let read = memory::read(link.base, room);
        room.get(..read).unwrap_or_default()
    }
}

/// The headers among these bytes of an object's beginning.
fn headers_in(head: &[u8], range: Range<usize>) -> Option<&[Header]> {
    // SAFETY: any bytes are headers, which are numbers.
    let (before, headers, after) = unsafe { head.get(range)?.align_to::<Header>() };
    (before.is_empty() && after.is_empty()).then_some(headers)
}

impl<'a> Object<'a> {
    /// Where the segment that `header` describes lies, and how long it is.
    pub(crate) fn segment(&self, header: &Header) -> (usize, usize) {
        (self.base.wrapping_add(header.p_vaddr as usize), header.p_memsz as usize)
    }

    /// Whether it asks for a loader (PT_INTERP), and the kernel has started that loader itself
    /// instead: `ld-linux.so ./program`. Then what the kernel calls the executable is the loader.
    pub(crate) fn is_started_by_loader(&self) -> bool {
        // SAFETY: asks for a number.
        let interpreter = unsafe { libc::getauxval(libc::AT_BASE) };
        interpreter == 0 && self.of_kind(libc::PT_INTERP).next().is_some()
    }

    fn of_kind(&self, kind: u32) -> impl Iterator<Item = &'a Header> + use<'a> {
        self.headers.iter().filter(move |header| header.p_type == kind)
    }

    /// The only segment of a kind.
    pub(crate) fn the(&self, kind: u32) -> Option<usize> {
        self.of_kind(kind).next().map(|header| self.segment(header).0)
    }

    /// Whether its code is at `address`.
    pub(crate) fn has_code_at(&self, address: usize) -> bool {
        self.of_kind(libc::PT_LOAD).filter(|header| header.p_flags & libc::PF_X != 0).any(
            |header| {
                let (start, length) = self.segment(header);
                address.wrapping_sub(start) < length
            },
        )
    }

    /// As [`memory::read`]; of an object that stays, without asking the kernel.
    pub(crate) fn read(&self, address: usize, room: &mut [u8]) -> usize {
        let readable = |header: &Header| {
            let (start, length) = self.segment(header);
            let after = length.checked_sub(address.wrapping_sub(start));
            header.p_flags & libc::PF_R != 0 && after.is_some_and(|after| after >= room.len())
        };
        if !self.stays || !self.of_kind(libc::PT_LOAD).any(readable) {
            return memory::read(address, room);
        }
        // SAFETY: inside a segment that is mapped for ever and can be read.
        unsafe {
            std::ptr::copy_nonoverlapping(address as *const u8, room.as_mut_ptr(), room.len());
        }
        room.len()
    }

    /// The start of each of its notes' segments, as far as `room` reaches.
    pub(crate) fn each_note(&self, room: &mut [u8], mut look: impl FnMut(&[u8])) {
        for header in self.of_kind(libc::PT_NOTE) {
            let (start, length) = self.segment(header);
            let at = start.wrapping_sub(self.base);
            if self.stays {
                // SAFETY: a segment that is never unmapped.
                look(unsafe { std::slice::from_raw_parts(start as *const u8, length) });
            } else if let Some(notes) = self.head.get(at..at.saturating_add(length)) {
                look(notes);
            } else {
                let length = length.min(room.len());
                let read = memory::read(start, room.get_mut(..length).unwrap_or_default());
                look(room.get(..read).unwrap_or_default());
            }
        }
    }

    /// The main program, as the kernel has shown its headers.
    fn main() -> Option<Self> {
        // SAFETY: asks for a number.
        let at = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
        // SAFETY: as above.
        let count = unsafe { libc::getauxval(libc::AT_PHNUM) } as usize;
        if at == 0 {
            return None;
        }
        // SAFETY: as many headers as the kernel says, of a program that is never unmapped.
        let headers = unsafe { std::slice::from_raw_parts(at as *const Header, count) };
        let mut object = Self { base: 0, name: 0, dynamic: 0, stays: true, head: &[], headers };
        let own = object.of_kind(libc::PT_PHDR).next().map(|header| header.p_vaddr as usize);
        // Without a header for the headers they lie right behind the file's own, in the segment
        // that begins the file.
        let first = || {
            let begins = object.of_kind(libc::PT_LOAD).find(|header| header.p_offset == 0)?;
            Some(begins.p_vaddr as usize + size_of::<FileHeader>())
        };
        object.base = at.wrapping_sub(own.or_else(first)?);
        object.dynamic = object.the(libc::PT_DYNAMIC).unwrap_or(0);
        Some(object)
    }

    /// What the loader describes there: its headers are where linkers put them, and say of the
    /// dynamic section what the loader does.
    fn described(link: &Link, head: &'a [u8]) -> Option<Self> {
        let file =
            head.get(..size_of::<FileHeader>()).filter(|file| file.starts_with(b"\x7fELF"))?;
        // SAFETY: the bytes of a file header, which are numbers.
        let file = unsafe { file.as_ptr().cast::<FileHeader>().read_unaligned() };
        let start = file.e_phoff as usize;
        let end = start.checked_add(usize::from(file.e_phnum) * size_of::<Header>())?;
        let headers = headers_in(head, start..end)?;
        let Link { base, name, stays, .. } = *link;
        let mut object = Self { base, name, dynamic: 0, stays, head, headers };
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
    /// Loaded with the program: never unmapped.
    stays: bool,
}

impl Link {
    fn of([base, name, dynamic, next, previous]: [usize; 5], stays: bool) -> Self {
        Self { base, name, dynamic, next, previous, stays }
    }

    /// The first one of a list.
    ///
    /// # Safety
    /// If it `stays`, it is a link of the program itself.
    unsafe fn first(at: usize, stays: bool) -> Option<Self> {
        let words = if stays {
            // SAFETY: the loader's own, for ever, by this function's contract.
            Some(unsafe { (at as *const [usize; 5]).read() })
        } else {
            words(at)
        };
        words.map(|words| Self::of(words, stays))
    }

    /// The next one.
    fn next(&self) -> Option<Self> {
        // SAFETY: as this one, up to the loader.
        unsafe { Self::first(self.next, self.next_stays()) }
    }

    fn next_stays(&self) -> bool {
        self.next != 0 && self.stays && self.base != loader()
    }

    /// The next one, and the head of this one's object.
    #[cold]
    fn next_and_head<'a>(&self, room: &'a mut Room) -> (Option<Self>, &'a [u8]) {
        if self.next == 0 || self.stays {
            return (self.next(), room.head(self));
        }
        let (mut words, room) = ([0; 5], room.0.write([0; HEAD]));
        let (next, head) = memory::read_two([self.next, self.base], bytes_of(&mut words), room);
        (next.then_some(Self::of(words, false)), if head { room } else { &[] })
    }
}

/// Where the kernel has put the loader; 0 if it has none to put.
fn loader() -> usize {
    // SAFETY: asks for a number.
    unsafe { libc::getauxval(libc::AT_BASE) as usize }
}

fn bytes_of(words: &mut [usize]) -> &mut [u8] {
    let (place, length) = (words.as_mut_ptr().cast::<u8>(), size_of_val(words));
    // SAFETY: the bytes of these numbers, which any bytes may be.
    unsafe { std::slice::from_raw_parts_mut(place, length) }
}

fn words<const N: usize>(at: usize) -> Option<[usize; N]> {
    let mut words = [0; N];
    (memory::read(at, bytes_of(&mut words)) == size_of_val(&words)).then_some(words)
}

/// Where the loader has its `struct r_debug`: it writes that into the main program's dynamic
/// section before it calls a constructor.
fn debug(main: &Object<'_>) -> Option<usize> {
    const DEBUG: usize = 21;
    /// It never moves. Relaxed: whoever sees 0 looks.
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    let found = match FOUND.load(Ordering::Relaxed) {
        0 => entry_of(main, DEBUG).unwrap_or(0),
        found => found,
    };
    FOUND.store(found, Ordering::Relaxed);
    (found != 0).then_some(found)
}

/// The value that the object's dynamic section has for this tag.
pub(crate) fn entry_of(object: &Object<'_>, wanted: usize) -> Option<usize> {
    const ENTRIES: usize = 256;
    if object.dynamic == 0 {
        return None;
    }
    let places =
        (0..ENTRIES).map(|entry| (object.dynamic as *const [usize; 2]).wrapping_add(entry));
    let read = |place: *const [usize; 2]| {
        // SAFETY: before the end of its dynamic section, which is never unmapped.
        if object.stays { Some(unsafe { place.read() }) } else { words(place.addr()) }
    };
    let mut entries = places.map_while(read).take_while(|[tag, _]| *tag != 0);
    entries.find(|[tag, _]| *tag == wanted).map(|[_, value]| value)
}

/// Whether the loader is adding or removing an object at this moment.
#[cfg(target_env = "gnu")]
pub(crate) fn are_changing() -> bool {
    const STATE: usize = 3;
    // SAFETY: the loader's own variables, which are never unmapped.
    let words = |at: usize| unsafe { (at as *const [usize; 4]).read_volatile() };
    Object::main()
        .and_then(|main| debug(&main))
        .is_some_and(|debug| words(debug)[STATE] as i32 != 0)
}

/// Calls `look` with each link of the loader's lists, which returns the next one. False if one of
/// them does not fit together.
#[cold]
fn each_link(main: &Object<'_>, look: &mut dyn FnMut(&Link) -> Option<Link>) -> bool {
    let mut debug = debug(main);
    let mut rest = OBJECTS;
    let mut stays = loader() != 0;
    for _ in 0..NAMESPACES {
        // version, map, brk, state, ldbase, and from version 2 on the next namespace's.
        let Some(at) = debug else { return true };
        // SAFETY: the loader's own variables, which are never unmapped.
        let [version, first, _, _, _, next] = unsafe { (at as *const [usize; 6]).read_volatile() };
        // SAFETY: the first of the first list is the main program's.
        let mut link = if first == 0 { None } else { unsafe { Link::first(first, stays) } };
        stays = false;
        let (mut at, mut before) = (first, 0);
        while at != 0 {
            let Some(here) = link.filter(|link| link.previous == before && rest > 0) else {
                return false;
            };
            rest -= 1;
            link = look(&here);
            (before, at) = (at, here.next);
        }
        debug = (version as i32 >= 2 && next != 0).then_some(next);
    }
    true
}

/// As [`each_link`], again from the start while the list does not fit together: links can come
/// twice.
#[cold]
fn each_link_of_some_try(main: &Object<'_>, look: &mut dyn FnMut(&Link) -> Option<Link>) {
    let _whole = (0..ATTEMPTS).any(|_| each_link(main, look));
}

/// Calls `look` with each loaded object, the main program first. While another thread loads or
/// unloads some, an object can come twice.
#[cold]
pub(crate) fn each(mut look: impl FnMut(&Object<'_>)) {
    let Some(main) = Object::main() else { return };
    look(&main);
    let mut room = Room::new();
    each_link_of_some_try(&main, &mut |link| {
        if link.dynamic == main.dynamic {
            return link.next();
        }
        let (next, head) = link.next_and_head(&mut room);
        if let Some(object) = Object::described(link, head) {
            look(&object);
        }
        next
    });
}

/// The object with code at `address`; `room` for one that can be unmapped meanwhile.
#[cold]
pub(crate) fn holding(address: usize, room: &mut Room) -> Option<Object<'_>> {
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
        link.next()
    });
    let nearest = nearest?;
    Object::described(&nearest, room.head(&nearest)).filter(|object| object.has_code_at(address))
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
        each(|object| own.push((object.base, object.headers.len())));
        loader.sort_unstable();
        own.sort_unstable();
        assert!(own.len() > 2, "{own:?}");
        assert_eq!(loader, own);
    }

    #[test]
    fn those_that_were_loaded_with_the_program_are_known() {
        let (mut early, mut all, mut room) = (0, 0, Room::new());
        each(|object| (early, all) = (early + usize::from(object.stays), all + 1));
        assert!(early > 2 && early <= all, "{early} of {all}");
        let libc = holding(libc::getpid as *const () as usize, &mut room).unwrap();
        assert!(libc.stays);
        let (mut seen, mut asked) = ([0; 64], [0; 64]);
        assert_eq!(
            (libc.read(libc.base, &mut seen), memory::read(libc.base, &mut asked)),
            (64, 64)
        );
        assert_eq!(seen, asked);
        assert_eq!(libc.read(8, &mut seen), 0);
    }

    #[test]
    fn an_address_is_in_one_of_them_or_in_none() {
        let (mut room, mut other) = (Room::new(), Room::new());
        let here =
            holding(an_address_is_in_one_of_them_or_in_none as *const () as usize, &mut other)
                .unwrap();
        assert_eq!((here.base, here.name), (Object::main().unwrap().base, 0));
        let libc = holding(libc::getpid as *const () as usize, &mut room).unwrap();
        assert!(libc.name != 0 && libc.base != here.base);
        let text = memory::word(libc.name).map(usize::to_ne_bytes).unwrap();
        assert_eq!(text[0], b'/', "{text:?}");
        let stack = std::ptr::from_ref(&text) as usize;
        for address in [stack, 0, usize::MAX] {
            assert!(holding(address, &mut room).is_none());
        }
    }
}
