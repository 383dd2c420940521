//! Where tensors live: what a user says of it, and the one place that opens it.

use std::fmt;
use std::str::FromStr;

use candle_core::{Device, DeviceLocation, Tensor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where to compute, as it is asked for: `auto`, `cpu`, `cuda`, or `cuda:N` for another device than the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first CUDA device where the binary is built for CUDA and that device answers, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda(u8),
}

/// What is neither of the forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a device is `auto`, `cpu`, `cuda` or `cuda:N` with N from 0 to 255")]
pub struct UnknownDevice;

#[derive(Debug, Error)]
pub enum DeviceError {
    #[error("this graphkin is built without CUDA, so there is no `{0}`; ask for `cpu` or `auto`")]
    NotBuilt(DeviceChoice),
    #[error("there is no CUDA device `{choice}`: the driver counts {count}")]
    Absent { choice: DeviceChoice, count: usize },
    #[error("no CUDA device answers: {0}")]
    NoDriver(String),
    /// It was there, and a computation on it failed.
    #[error("{device} failed")]
    Failed {
        device: String,
        #[source]
        source: Box<candle_core::Error>,
    },
    #[error("{0} gave wrong numbers")]
    WrongNumbers(String),
}

/// A device that was opened.
#[derive(Debug, Clone)]
pub struct ComputeDevice(Device);

/// The device that a choice came to.
#[derive(Debug)]
pub struct Opened {
    pub device: ComputeDevice,
    /// Why `auto` came to the CPU.
    pub passed_over: Option<DeviceError>,
}

impl DeviceChoice {
    /// Opens the device, and computes a little on it: what can't do that is not there. Only `auto` falls back.
    ///
    /// # Errors
    /// When a CUDA device was asked for and can't be used.
    pub fn open(self) -> Result<Opened, DeviceError> {
        let (device, passed_over) = match self {
            Self::Cpu => (ComputeDevice::cpu(), None),
            Self::Cuda(ordinal) => (cuda::open(ordinal)?, None),
            Self::Auto => match cuda::open(0) {
                Ok(device) => (device, None),
                Err(why) => (ComputeDevice::cpu(), Some(why)),
            },
        };
        Ok(Opened { device, passed_over })
    }

    /// Whether [`DeviceChoice::open`] finds something to open. It asks the driver, and takes no memory on the device.
    ///
    /// # Errors
    /// When a CUDA device was asked for and is not there.
    pub fn check(self) -> Result<(), DeviceError> {
        match self {
            Self::Auto | Self::Cpu => Ok(()),
            Self::Cuda(ordinal) => cuda::check(ordinal),
        }
    }
}

impl ComputeDevice {
    #[must_use]
    pub const fn cpu() -> Self {
        Self(Device::Cpu)
    }

    #[must_use]
    pub fn is_cpu(&self) -> bool {
        self.0.is_cpu()
    }

    /// Adds and multiplies a few numbers there. A device on which that fails has failed for good: CUDA's errors stick to
    /// the process, all but the want of memory.
    ///
    /// # Errors
    /// When it can't, or gives wrong numbers.
    pub fn check(&self) -> Result<(), DeviceError> {
        let compute = || {
            let numbers = Tensor::new(&[[1.0_f32, 2.0], [3.0, 4.0]], &self.0)?;
            (numbers.matmul(&numbers)? + &numbers)?.to_vec2::<f32>()
        };
        match compute() {
            Ok(numbers) if numbers == [[8.0, 12.0], [18.0, 26.0]] => Ok(()),
            Ok(_) => Err(DeviceError::WrongNumbers(self.to_string())),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// For the rooms that know tensors.
    pub(crate) const fn tensors(&self) -> &Device {
        &self.0
    }

    pub(crate) fn failed(&self, source: candle_core::Error) -> DeviceError {
        DeviceError::Failed { device: self.to_string(), source: source.into() }
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::Device;
    use candle_core::cuda_backend::cudarc::driver::CudaContext;

    use super::{ComputeDevice, DeviceChoice, DeviceError};

    pub(super) fn check(ordinal: u8) -> Result<(), DeviceError> {
        let count = CudaContext::device_count().map_err(|error| DeviceError::NoDriver(error.to_string()))?;
        let count = usize::try_from(count).unwrap_or(0);
        if usize::from(ordinal) < count {
            Ok(())
        } else {
            Err(DeviceError::Absent { choice: DeviceChoice::Cuda(ordinal), count })
        }
    }

    /// With a stream of its own: candle's default is a stream for each thread that calls, and what one thread uploads
    /// another would compute with before it is there.
    pub(super) fn open(ordinal: u8) -> Result<ComputeDevice, DeviceError> {
        check(ordinal)?;
        let device = Device::new_cuda_with_stream(ordinal.into());
        let device = ComputeDevice(device.map_err(|error| DeviceError::NoDriver(error.to_string()))?);
        device.check()?;
        Ok(device)
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::{ComputeDevice, DeviceChoice, DeviceError};

    pub(super) const fn check(ordinal: u8) -> Result<(), DeviceError> {
        Err(DeviceError::NotBuilt(DeviceChoice::Cuda(ordinal)))
    }

    pub(super) const fn open(ordinal: u8) -> Result<ComputeDevice, DeviceError> {
        Err(DeviceError::NotBuilt(DeviceChoice::Cuda(ordinal)))
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let digits = text.strip_prefix("cuda:").filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
                digits.and_then(|digits| digits.parse().ok()).map(Self::Cuda).ok_or(UnknownDevice)
            }
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = UnknownDevice;

    fn try_from(text: String) -> Result<Self, UnknownDevice> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for ComputeDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.location() {
            DeviceLocation::Cpu => f.write_str("cpu"),
            DeviceLocation::Cuda { gpu_id } => write!(f, "cuda:{gpu_id}"),
            DeviceLocation::Metal { gpu_id } => write!(f, "metal:{gpu_id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_the_text_that_it_is_read_from() {
        for (text, choice, again) in [
            ("auto", DeviceChoice::Auto, "auto"),
            ("cpu", DeviceChoice::Cpu, "cpu"),
            ("cuda", DeviceChoice::Cuda(0), "cuda"),
            ("cuda:0", DeviceChoice::Cuda(0), "cuda"),
            ("cuda:12", DeviceChoice::Cuda(12), "cuda:12"),
        ] {
            let read: DeviceChoice = serde_json::from_value(text.into()).unwrap();
            assert_eq!(read, choice, "{text}");
            assert_eq!(serde_json::to_value(read).unwrap(), again);
        }
        for text in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda:256", "cuda:0x1", " cpu"] {
            assert_eq!(text.parse::<DeviceChoice>(), Err(UnknownDevice), "{text}");
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert!(DeviceChoice::Cpu.check().is_ok() && DeviceChoice::Auto.check().is_ok());
        let opened = DeviceChoice::Cpu.open().unwrap();
        assert_eq!((opened.device.to_string(), opened.passed_over.is_none()), ("cpu".to_owned(), true));
        opened.device.check().unwrap();
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_the_feature_only_auto_falls_back() {
        for choice in [DeviceChoice::Cuda(0), DeviceChoice::Cuda(3)] {
            let why = choice.open().unwrap_err().to_string();
            assert!(why.contains(&format!("built without CUDA, so there is no `{choice}`")), "{why}");
            assert!(matches!(choice.check(), Err(DeviceError::NotBuilt(named)) if named == choice));
        }
        let opened = DeviceChoice::Auto.open().unwrap();
        assert!(opened.device.is_cpu() && matches!(opened.passed_over, Some(DeviceError::NotBuilt(_))));
    }
}
