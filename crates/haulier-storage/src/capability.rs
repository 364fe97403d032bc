//! What a storage can do, as plain facts that planners and tests read.

/// What one storage can do. The default can do nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `stat` and `read` work.
    pub read: bool,
    /// `write` works.
    pub write: bool,
    /// `list` works.
    pub list: bool,
    /// `delete` works.
    pub delete: bool,
    /// Every text is a key of its own: empty parts, `.` and `..` are kept, and lead nowhere.
    pub any_key: bool,
    /// A read can start in the middle without moving the bytes before it.
    pub ranged_read: bool,
    /// Every byte that a read gives is of the version that it names, also when the object is replaced meanwhile.
    pub one_version: bool,
    /// Several reads of one object at once make sense.
    pub parallel_reads: bool,
    /// `put_at` may be called at any offsets, several at once.
    pub parallel_writes: bool,
    /// Writers give a token, and a later writer can go on from it.
    pub resumable_write: bool,
    /// `read_back` works.
    pub read_back: bool,
    /// `read_back` finds in this machine's memory what was just put, so that hashing it there costs no second pass.
    pub cheap_read_back: bool,
    /// `copy_range` and `clone_from` may work.
    pub kernel_copy: bool,
    /// `Placement::InPlace` works.
    pub in_place: bool,
    /// Guards are checked in the same step as the change; else right before it.
    pub guarded_write: bool,
    /// `rename` works.
    pub rename: bool,
    /// Time and mode of an object are kept, and `set_attributes` works.
    pub attributes: bool,
    /// Writers compute a checksum of what they are given and send it along, and no byte is taken that differs from it.
    pub checksums: bool,
}
