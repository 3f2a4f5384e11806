//! Encryption at rest, as callers of the store meet it.

use super::*;
use crate::kernel::MasterKey;

const HOUR_MS: i64 = 60 * 60 * 1000;
/// On both sides of row and blob, and of one frame and two.
const SIZES: [usize; 6] = [0, 1, 16 * 1024, 16 * 1024 + 1, 1 << 20, (1 << 20) + 77];

pub(super) async fn seal_with(
    store: &Store,
    bytes: &[u8],
    always_blob: bool,
    encryption: Option<Encryption>,
) -> Sealed {
    let options = WriteOptions {
        size: Some(bytes.len() as u64),
        always_blob,
        encryption,
        ..WriteOptions::default()
    };
    let mut writer = store.writer(options).await.unwrap();
    for piece in bytes.chunks(70_000) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.seal().await.unwrap()
}

async fn encrypt_by_default(store: &Store) {
    store
        .set_default_encryption(&bucket(), Some(DefaultEncryption::default()))
        .await
        .unwrap();
}

async fn put_as(store: &Store, name: &str, bytes: &[u8], asked: EncryptionAsked) -> Object {
    let encryption = store.encryption(&bucket(), Some(asked)).await.unwrap();
    let sealed = seal_with(store, bytes, false, encryption).await;
    let published = store.publish(named(name, Condition::default()), sealed);
    published.await.unwrap().object
}

async fn read_as(
    store: &Store,
    name: &str,
    key: Option<&CustomerKey>,
) -> Result<Vec<u8>, StoreError> {
    let object = store.object(&bucket(), &super::key(name), None).await?;
    let body = store.reader_with(&object, key).await?.body(0..object.size);
    Ok(body.collect().await?.to_bytes().to_vec())
}

fn copy_of(source: Object, name: &str) -> Copy {
    Copy {
        source,
        bucket: bucket(),
        key: super::key(name),
        headers: None,
        tags: None,
        extras: ObjectExtras::default(),
        owner: "me".into(),
        condition: Condition::default(),
    }
}

/// Every byte of the data directory.
fn everything(dir: &TempDir) -> Vec<u8> {
    let mut all = Vec::new();
    let mut rest = vec![dir.path().to_owned()];
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            rest.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else {
            all.extend(std::fs::read(path).unwrap());
        }
    }
    all
}

fn holds(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_bucket_that_encrypts_by_default_keeps_no_plaintext() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    encrypt_by_default(store).await;
    for (n, size) in (0..).zip(SIZES) {
        let bytes = noise(size, n);
        let encryption = store.encryption(&bucket(), None).await.unwrap();
        let sealed = seal_with(store, &bytes, false, encryption).await;
        assert_eq!(sealed.etag().as_str(), hex::encode(md5_of(&bytes)));
        let put = named(&format!("a{size}"), Condition::default());
        let object = store.publish(put, sealed).await.unwrap().object;
        assert!(object.encrypted().is_some() && object.is_hashed_whole());
        assert_eq!(object.content_id.0, *blake3::hash(&bytes).as_bytes());
        assert_eq!(get(store, &format!("a{size}")).await.unwrap(), bytes);
        if size >= 16 * 1024 {
            assert!(!holds(&everything(&house.dir), &bytes[100..164]), "{size}");
            let name = key(&format!("a{size}"));
            let object = store.object(&bucket(), &name, None).await.unwrap();
            let reader = store.reader(&object).await.unwrap();
            assert!(reader.files().is_none(), "no worker gets ciphertext");
            assert_eq!(reader.read(9..3000).await.unwrap(), bytes[9..3000]);
        }
    }
    clean(store).await;
    // Another start, with the same master key and with another one.
    let again = open(&house.dir).await;
    assert_eq!(get(&again, "a16384").await.unwrap(), noise(16 * 1024, 2));
    let mut other = open(&house.dir).await;
    let inner = Arc::get_mut(&mut other.0).unwrap();
    inner.keys = keyring::Keyring::new(MasterKey::from_bytes([8; 32]));
    assert!(matches!(
        get(&other, "a16384").await,
        Err(StoreError::Damaged(_))
    ));
    store.set_default_encryption(&bucket(), None).await.unwrap();
    assert!(store.encryption(&bucket(), None).await.unwrap().is_none());
    assert_eq!(get(store, "a1").await.unwrap(), noise(1, 1));
}

#[tokio::test]
async fn an_altered_row_of_encrypted_bytes_is_found_without_a_key() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let customers = EncryptionAsked::Customer(CustomerKey::from_bytes([1; 32]));
    for asked in [EncryptionAsked::Appliance, customers] {
        put_as(store, "a", b"small", asked).await;
        clean(store).await;
        let mut object = store.object(&bucket(), &key("a"), None).await.unwrap();
        assert!(store.is_sound_inline(&object).await.unwrap());
        let mut stored = object.inline.clone().unwrap().to_vec();
        stored[3] ^= 4;
        object.inline = Some(stored.into());
        assert!(!store.is_sound_inline(&object).await.unwrap());
    }
}

fn md5_of(bytes: &[u8]) -> [u8; 16] {
    <md5::Md5 as md5::Digest>::digest(bytes).into()
}

#[tokio::test]
async fn what_a_customer_encrypted_needs_the_customers_key() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let right = CustomerKey::from_bytes([1; 32]);
    let wrong = CustomerKey::from_bytes([2; 32]);
    for size in SIZES {
        let bytes = noise(size, 5);
        let object = put_as(store, "c", &bytes, EncryptionAsked::Customer(right.clone())).await;
        assert!(object.needs_key() && !object.is_hashed_whole());
        assert_ne!(object.content_id.0, *blake3::hash(&bytes).as_bytes());
        assert_ne!(object.etag.as_str(), hex::encode(md5_of(&bytes)));
        assert_eq!(read_as(store, "c", Some(&right)).await.unwrap(), bytes);
        let refused = read_as(store, "c", Some(&wrong)).await;
        assert!(matches!(refused, Err(StoreError::WrongKey)));
        let refused = read_as(store, "c", None).await;
        assert!(matches!(refused, Err(StoreError::KeyRequired)));
        // Another name needs no key, and gives none.
        store.copy(copy_of(object.clone(), "d")).await.unwrap();
        assert_eq!(read_as(store, "d", Some(&right)).await.unwrap(), bytes);
        let refused = read_as(store, "d", None).await;
        assert!(matches!(refused, Err(StoreError::KeyRequired)));
        let keys = CopyKeys {
            source: None,
            asked: Some(EncryptionAsked::Appliance),
        };
        let copied = store.copy_with(copy_of(object, "e"), keys).await;
        assert!(matches!(copied, Err(StoreError::KeyRequired)));
    }
    assert!(!holds(&everything(&house.dir), &[1; 32]), "the key is kept");
    clean(store).await;
}

#[tokio::test]
async fn a_copy_moves_rows_where_the_data_key_can_stay_and_bytes_elsewhere() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let customer = CustomerKey::from_bytes([1; 32]);
    let other = CustomerKey::from_bytes([2; 32]);
    let kinds = || {
        [
            None,
            Some(EncryptionAsked::Appliance),
            Some(EncryptionAsked::Named("k1".into())),
            Some(EncryptionAsked::Customer(customer.clone())),
        ]
    };
    let asked_for = || {
        let [none, appliance, named, _] = kinds();
        let customers = Some(EncryptionAsked::Customer(other.clone()));
        [none, appliance, named, customers]
    };
    for size in [1000, (1 << 20) + 77] {
        let bytes = noise(size, 9);
        for (from, kind) in kinds().into_iter().enumerate() {
            let source = match kind {
                None => put(store, "from", &bytes).await.object,
                Some(kind) => put_as(store, "from", &bytes, kind).await,
            };
            for (to, asked) in asked_for().into_iter().enumerate() {
                let keys = CopyKeys {
                    source: (from == 3).then(|| customer.clone()),
                    asked,
                };
                let copy = copy_of(source.clone(), "to");
                let copied = store.copy_with(copy, keys).await.unwrap().object;
                let case = format!("{from} to {to}, {size} bytes");
                let key = (to == 3).then_some(&other);
                assert_eq!(read_as(store, "to", key).await.unwrap(), bytes, "{case}");
                let named = copied.encrypted().and_then(Encrypted::key_name);
                let expected = to == 2 || (to == 0 && from == 2);
                assert_eq!(named, expected.then_some("k1"), "{case}");
                assert_eq!(copied.needs_key(), to == 3, "{case}");
                // Saying nothing never undoes an encryption.
                assert_eq!(copied.encrypted().is_some(), from > 0 || to > 0, "{case}");
                let same_tag = copied.etag == source.etag;
                assert_eq!(same_tag, from != 3 && to != 3, "{case}");
                store.settle().await;
                let shared = from == to && from == 0 || [1, 2].contains(&from) && to < 3;
                let files = if size > 16 * 1024 {
                    2 - usize::from(shared)
                } else {
                    0
                };
                assert_eq!(store.blobs().files().count(), files, "{case}");
            }
        }
    }
    clean(store).await;
}

#[tokio::test]
async fn the_parts_of_an_upload_share_its_key() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let customer = CustomerKey::from_bytes([1; 32]);
    put(store, "plain", &noise(300_000, 8)).await;
    for asked in [
        EncryptionAsked::Appliance,
        EncryptionAsked::Customer(customer.clone()),
    ] {
        let encryption = Encryption::new(asked);
        let sse = Some(store.encrypted(&encryption).await.unwrap());
        let new = NewMultipart {
            bucket: bucket(),
            key: key("big"),
            headers: ObjectHeaders::default(),
            tags: Tags::new(),
            extras: ObjectExtras {
                sse,
                ..Default::default()
            },
            owner: "me".into(),
            checksum: None,
        };
        let id = store.begin_multipart(new).await.unwrap();
        let (row, _) = store.multipart(id, &bucket(), &key("big")).await.unwrap();
        let keys = PartKeys {
            source: None,
            target: encryption.is_customers().then(|| customer.clone()),
        };
        let opened = store.upload_encryption(&row, keys.target.as_ref()).await;
        let first = noise(5 << 20, 3);
        let sealed = seal_with(store, &first, true, opened.unwrap()).await;
        let mut named = Vec::new();
        let part = store.put_part(id, &bucket(), &key("big"), 1, sealed).await;
        named.push(part.unwrap());
        let source = store.head(&bucket(), &key("plain"), None).await.unwrap();
        let range = 1000..200_000;
        let part = store
            .copy_part(id, &bucket(), &key("big"), 2, &source, range, &keys)
            .await;
        named.push(part.unwrap());
        let named = named.into_iter().map(|part| CompletedPart {
            number: part.number,
            etag: part.etag.quoted(),
            checksums: Default::default(),
        });
        let named: Vec<_> = named.collect();
        let done = store
            .complete_multipart(id, &bucket(), &key("big"), named, Condition::default())
            .await
            .unwrap();
        assert!(!done.object.is_hashed_whole());
        let expected = [&first[..], &noise(300_000, 8)[1000..200_000]].concat();
        let read = read_as(store, "big", keys.target.as_ref()).await.unwrap();
        assert!(read == expected);
        if keys.target.is_some() {
            let refused = store.upload_encryption(&row, None).await;
            assert!(matches!(refused, Err(StoreError::KeyRequired)));
        }
    }
    clean(store).await;
}

#[tokio::test]
async fn a_resumable_upload_is_encrypted_at_its_end_and_its_plaintext_goes() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    encrypt_by_default(store).await;
    for size in SIZES {
        let bytes = noise(size, 4);
        let new = NewResumable {
            protocol: crate::catalog::Protocol::Tus,
            role: crate::catalog::UploadRole::Whole,
            bucket: bucket(),
            key: Some(key("film.mkv")),
            headers: ObjectHeaders::default(),
            tags: Tags::new(),
            owner: "me".into(),
            length: Some(size as u64),
            metadata: "{}".into(),
            idle_ms: None,
            lane: None,
        };
        let id = store.begin_upload(new).await.unwrap().id;
        let mut session = store.append(id, 0, None).await.unwrap();
        session.write(bytes.clone().into()).await.unwrap();
        let published = session.finish().await.unwrap();
        assert!(published.object.encrypted().is_some());
        assert_eq!(
            published.object.content_id.0,
            *blake3::hash(&bytes).as_bytes()
        );
        assert_eq!(get(store, "film.mkv").await.unwrap(), bytes);
        store.settle().await;
        let files = usize::from(size > 16 * 1024);
        assert_eq!(store.blobs().files().count(), files, "{size}");
        if size > 10_000 {
            assert!(!holds(&everything(&house.dir), &bytes[100..164]), "{size}");
        }
        clean(store).await;
    }
}

/// The keys that wrap data keys in this store's rows.
async fn wrapped_by(store: &Store) -> Vec<String> {
    let objects = store
        .catalog()
        .encrypted_objects_after(0, 100)
        .await
        .unwrap();
    let uploads = store
        .catalog()
        .encrypted_uploads_after("", 100)
        .await
        .unwrap();
    let all = objects.into_iter().map(|row| row.extras);
    let all = all.chain(uploads.into_iter().map(|row| row.extras));
    let by = all.filter_map(|extras| {
        let extras: ObjectExtras = serde_json::from_str(&extras).unwrap();
        Some(extras.sse.unwrap().wrapped()?.by.clone())
    });
    let mut by: Vec<_> = by.collect();
    by.sort_unstable();
    by.dedup();
    by
}

#[tokio::test]
async fn a_rotation_wraps_every_data_key_anew_and_goes_on_where_it_was_cut_off() {
    let house = House::new().await;
    let mut store = house.store.clone();
    drop(house.store);
    let clock = Clock::manual(1_000_000);
    Arc::get_mut(&mut store.0).unwrap().clock = clock.clone();
    store.create_bucket(&bucket(), "me").await.unwrap();
    let small = noise(500, 1);
    let large = noise(100_000, 2);
    put_as(&store, "small", &small, EncryptionAsked::Appliance).await;
    let named = EncryptionAsked::Named("k1".into());
    let object = put_as(&store, "large", &large, named).await;
    store.copy(copy_of(object, "copy")).await.unwrap();
    put(&store, "plain", &small).await;
    let customer = CustomerKey::from_bytes([1; 32]);
    let customers = EncryptionAsked::Customer(customer.clone());
    put_as(&store, "customers", &small, customers).await;
    let encryption = Encryption::new(EncryptionAsked::Appliance);
    let new = NewMultipart {
        bucket: bucket(),
        key: key("big"),
        headers: ObjectHeaders::default(),
        tags: Tags::new(),
        extras: ObjectExtras {
            sse: Some(store.encrypted(&encryption).await.unwrap()),
            ..Default::default()
        },
        owner: "me".into(),
        checksum: None,
    };
    let upload = store.begin_multipart(new).await.unwrap();
    let first = wrapped_by(&store).await;
    assert_eq!(first.len(), 1);
    // Cut off right after the new key was made: what is written now is wrapped by it, the rest not yet.
    assert!(!store.begin_rotation().await.unwrap());
    let mut again = open(&house.dir).await;
    Arc::get_mut(&mut again.0).unwrap().clock = clock.clone();
    put_as(&again, "late", &large, EncryptionAsked::Appliance).await;
    assert_eq!(wrapped_by(&again).await.len(), 2);
    let done = again.rotate_keys().await.unwrap();
    assert!(done.resumed);
    assert_eq!((done.rewrapped, done.dropped, done.kept), (4, 0, 1));
    assert_eq!(wrapped_by(&again).await, [done.key]);
    // The first process still has the older key in mind and reads all the same.
    for store in [&store, &again] {
        assert_eq!(get(store, "small").await.unwrap(), small);
        assert_eq!(get(store, "copy").await.unwrap(), large);
        assert_eq!(get(store, "late").await.unwrap(), large);
        let read = read_as(store, "customers", Some(&customer)).await;
        assert_eq!(read.unwrap(), small);
        let row = store.multipart(upload, &bucket(), &key("big")).await;
        let opened = store.upload_encryption(&row.unwrap().0, None).await;
        let opened = opened.unwrap().unwrap();
        assert_eq!(opened.data.as_bytes(), encryption.data.as_bytes());
    }
    // An hour later nothing can need the oldest key, and the next rotation drops it.
    clock.advance_ms(HOUR_MS);
    let done = again.rotate_keys().await.unwrap();
    assert!(!done.resumed);
    assert_eq!((done.rewrapped, done.dropped, done.kept), (5, 1, 1));
    assert_eq!(wrapped_by(&again).await, [done.key]);
    assert_eq!(get(&store, "copy").await.unwrap(), large);
    clean(&again).await;
}
