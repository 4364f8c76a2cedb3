//! The kinds served, and how a request path names one of them.

/// One kind of object: everything the server has to know about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, clippy::struct_field_names)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version, without the group.
    pub version: &'static str,
    /// Plural as in the request path; also what names the kind in every helper of this module.
    pub plural: &'static str,
    /// Kind as in the object.
    pub kind: &'static str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether `/status` is a subresource of its own.
    pub status: bool,
    /// Whether `metadata.generation` is kept.
    pub generation: bool,
    /// Whether creates are answered by a handler and never stored, as reviews are.
    pub review: bool,
}

/// Kinds known to every server; [`super::ApiServer::register`] adds more.
pub const KINDS: &[Kind] = &[
    Kind::namespaced("", "v1", "pods", "Pod").with_status(),
    Kind::namespaced("", "v1", "secrets", "Secret"),
    Kind::namespaced("", "v1", "configmaps", "ConfigMap"),
    Kind::cluster("", "v1", "namespaces", "Namespace").with_status(),
    Kind::namespaced("events.k8s.io", "v1", "events", "Event"),
    Kind::namespaced("coordination.k8s.io", "v1", "leases", "Lease"),
    Kind::namespaced("sparkbatch.dev", "v1alpha1", "sparkbatches", "SparkBatch").with_status().with_generation(),
    Kind::cluster("authentication.k8s.io", "v1", "tokenreviews", "TokenReview").reviewed(),
    Kind::cluster("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview").reviewed(),
];

impl Kind {
    /// A kind whose objects live in namespaces.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Self {
        Self { group, version, plural, kind, namespaced: true, status: false, generation: false, review: false }
    }

    /// A kind whose objects belong to the whole cluster.
    pub const fn cluster(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Self {
        let mut made = Self::namespaced(group, version, plural, kind);
        made.namespaced = false;
        made
    }

    /// With a status subresource.
    pub const fn with_status(mut self) -> Self {
        self.status = true;
        self
    }

    /// With a generation that counts changes of anything but metadata and status.
    pub const fn with_generation(mut self) -> Self {
        self.generation = true;
        self
    }

    /// Answered by [`super::ApiServer::on_review`], never stored.
    pub const fn reviewed(mut self) -> Self {
        self.review = true;
        self
    }

    /// `group/version`, or the version alone for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `plural.group` as error messages say it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether this is a custom resource rather than a built-in kind.
    pub fn is_custom(&self) -> bool {
        self.group.contains('.') && !self.group.ends_with(".k8s.io")
    }
}

/// What a request path points at.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) kind: Kind,
    /// Empty for cluster-scoped kinds and for calls across all namespaces.
    pub(super) namespace: String,
    pub(super) name: Option<String>,
    pub(super) sub: Option<String>,
}

impl Target {
    /// Reads a request path; `None` if nothing is served there.
    pub(super) fn parse(kinds: &[Kind], path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            // `/namespaces/x` and `/namespaces/x/status` are the namespace object itself.
            ["namespaces", namespace, inner, ..] if !matches!(*inner, "status" | "finalize") => {
                (*namespace, &rest[2..])
            }
            _ => ("", rest),
        };
        let (plural, name, sub) = match rest {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some(*name), None),
            [plural, name, sub] => (*plural, Some(*name), Some(*sub)),
            _ => return None,
        };
        let kind = *kinds.iter().find(|kind| (kind.group, kind.version, kind.plural) == (group, version, plural))?;
        if kind.namespaced == namespace.is_empty() && (name.is_some() || !namespace.is_empty()) {
            return None;
        }
        Some(Self { kind, namespace: namespace.to_owned(), name: name.map(str::to_owned), sub: sub.map(str::to_owned) })
    }

    /// The resource as access rules name it: `pods`, `pods/log`.
    pub(super) fn resource(&self) -> String {
        match &self.sub {
            Some(sub) => format!("{}/{sub}", self.kind.plural),
            None => self.kind.plural.to_owned(),
        }
    }
}
