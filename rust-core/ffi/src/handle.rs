//! Handles: numbers that name objects and are never given twice.

use parking_lot::RwLock;

struct Slot<T> {
    generation: u32,
    object: Option<T>,
}

/// Objects by handle. The low half of a handle is a place, the high half counts how often the place was used.
pub(crate) struct Handles<T> {
    slots: RwLock<Vec<Slot<T>>>,
}

fn parts(handle: u64) -> Option<(usize, u32)> {
    let place = usize::try_from(handle & u64::from(u32::MAX)).ok()?;
    let generation = u32::try_from(handle >> 32).ok()?;
    Some((place.checked_sub(1)?, generation))
}

impl<T: Clone> Handles<T> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: RwLock::new(Vec::new()),
        }
    }

    pub(crate) fn insert(&self, object: T) -> u64 {
        let mut slots = self.slots.write();
        let free = slots
            .iter()
            .position(|s| s.object.is_none() && s.generation < u32::MAX);
        let place = free.unwrap_or_else(|| {
            slots.push(Slot {
                generation: 0,
                object: None,
            });
            slots.len() - 1
        });
        let slot = &mut slots[place];
        slot.generation += 1;
        slot.object = Some(object);
        (u64::from(slot.generation) << 32) | (place as u64 + 1)
    }

    pub(crate) fn get(&self, handle: u64) -> Option<T> {
        let (place, generation) = parts(handle)?;
        let slots = self.slots.read();
        let slot = slots.get(place).filter(|s| s.generation == generation)?;
        slot.object.clone()
    }

    /// Takes out what this one names.
    pub(crate) fn take(&self, handle: u64) -> Option<T> {
        let (place, generation) = parts(handle)?;
        let mut slots = self.slots.write();
        let slot = slots.get_mut(place);
        slot.filter(|s| s.generation == generation)?.object.take()
    }

    /// How many there are.
    pub(crate) fn count(&self, wanted: impl Fn(&T) -> bool) -> usize {
        let slots = self.slots.read();
        let objects = slots.iter().filter_map(|s| s.object.as_ref());
        objects.filter(|object| wanted(object)).count()
    }

    /// Looks at all of them.
    pub(crate) fn each(&self, mut look: impl FnMut(&T)) {
        let objects: Vec<T> = self
            .slots
            .read()
            .iter()
            .filter_map(|s| s.object.clone())
            .collect();
        objects.iter().for_each(&mut look);
    }

    /// Takes out what `wanted` names.
    pub(crate) fn remove(&self, mut wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut slots = self.slots.write();
        slots
            .iter_mut()
            .filter(|s| s.object.as_ref().is_some_and(&mut wanted))
            .filter_map(|s| s.object.take())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_handle_names_nothing_even_when_its_place_is_used_again() {
        let handles = Handles::new();
        let first = handles.insert("a");
        assert_eq!(handles.get(first), Some("a"));
        handles.remove(|o| *o == "a");
        let second = handles.insert("b");
        assert_ne!(first, second);
        assert_eq!(handles.get(first), None);
        assert_eq!(handles.get(second), Some("b"));
        for wrong in [0, 7, u64::MAX, first & u64::from(u32::MAX)] {
            assert_eq!(handles.get(wrong), None);
        }
    }
}
