//! The container of a Deployment, started as the kubelet would: its environment, arguments, volumes
//! and security context. Other parts of a Deployment need a cluster.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use testkit::folder;

use crate::podman::Run;

/// The Secrets and ConfigMaps of a namespace: the data of each, by its name.
pub type Objects = BTreeMap<String, BTreeMap<String, String>>;

/// An object with its data.
pub fn object(name: &str, data: &[(&str, &str)]) -> (String, BTreeMap<String, String>) {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    (name.to_owned(), data.iter().map(owned).collect())
}

/// The container of a Deployment, and the folders that are mounted in it.
pub struct Pod {
    pub run: Run,
    _volumes: TempDir,
}

impl Pod {
    /// Fails for what it does not know: it would be ignored otherwise.
    #[track_caller]
    pub fn of(deployment: &Value, objects: &Objects) -> Self {
        let spec = &deployment["spec"]["template"]["spec"];
        let [container] = &spec["containers"].as_array().unwrap()[..] else {
            panic!("one container: {spec}")
        };
        assert_hardened(spec, container);
        let volumes = folder::temporary();
        let mut run = Run::hardened();
        // Otherwise the user of the image.
        let context = &spec["securityContext"];
        if let (Some(user), Some(group)) = (context["runAsUser"].as_u64(), context["runAsGroup"].as_u64()) {
            run = run.option(format!("--user={user}:{group}"));
        }
        for variable in container["env"].as_array().unwrap() {
            let (name, value) = (&variable["name"], &variable["value"]);
            let text = value.as_str().unwrap_or_else(|| panic!("{variable} has no text"));
            run = run.env(name.as_str().unwrap(), text);
        }
        let mounts = container["volumeMounts"].as_array().unwrap();
        for mount in mounts {
            assert_eq!(mount["readOnly"], true, "{mount}");
            let name = mount["name"].as_str().unwrap();
            let volume = spec["volumes"]
                .as_array()
                .unwrap()
                .iter()
                .find(|volume| volume["name"] == name);
            let volume = volume.unwrap_or_else(|| panic!("no volume {name}"));
            let made = make_volume(&volumes.path().join(name), volume, objects);
            run = run.mount(&made, mount["mountPath"].as_str().unwrap());
        }
        let arguments = container["args"].as_array().unwrap();
        let arguments: Vec<&str> = arguments.iter().map(|argument| argument.as_str().unwrap()).collect();
        Self {
            run: run.arguments(&arguments),
            _volumes: volumes,
        }
    }
}

/// What [`Run::hardened`] does is what the Deployment asks for.
#[track_caller]
fn assert_hardened(spec: &Value, container: &Value) {
    assert_eq!(spec["enableServiceLinks"], false);
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let context = &container["securityContext"];
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["capabilities"], serde_json::json!({"drop": ["ALL"]}));
}

/// A volume of a Secret or a ConfigMap as the kubelet makes it: the files are behind two symbolic
/// links, belong to the group of `fsGroup`, and the folder is writable by all but mounted for
/// reading only.
fn make_volume(folder: &Path, volume: &Value, objects: &Objects) -> PathBuf {
    let (source, name) = match (&volume["secret"], &volume["configMap"]) {
        (Value::Null, Value::Null) => panic!("a volume of another kind: {volume}"),
        (Value::Null, map) => (map, &map["name"]),
        (secret, _) => (secret, &secret["secretName"]),
    };
    let name = name.as_str().unwrap();
    let data = objects
        .get(name)
        .unwrap_or_else(|| panic!("no Secret or ConfigMap {name}"));
    let mode = source["defaultMode"].as_u64().unwrap_or(0o644);
    let keys: Vec<(&str, &str)> = match source["items"].as_array() {
        None => data.keys().map(|key| (key.as_str(), key.as_str())).collect(),
        Some(items) => items
            .iter()
            .map(|item| (item["key"].as_str().unwrap(), item["path"].as_str().unwrap()))
            .collect(),
    };
    let version = "..2026_11_29_10_00_00.123456789";
    std::fs::create_dir_all(folder.join(version)).unwrap();
    for (key, path) in keys {
        let file = folder.join(version).join(path);
        std::fs::write(&file, data.get(key).unwrap_or_else(|| panic!("{name} has no {key}"))).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(u32::try_from(mode).unwrap())).unwrap();
        chown(&file, None, Some(65532)).unwrap();
        symlink(Path::new("..data").join(path), folder.join(path)).unwrap();
    }
    symlink(version, folder.join("..data")).unwrap();
    std::fs::set_permissions(folder, Permissions::from_mode(0o1777)).unwrap();
    folder.to_owned()
}
