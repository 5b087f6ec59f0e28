pub(crate) fn examine(_clients: u64) -> (String, bool) {
    (String::new(), true)
}
